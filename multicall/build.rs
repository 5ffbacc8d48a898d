//! The executable is linked anew when the order of its functions is another one (`make order`).

fn main() {
    println!("cargo:rerun-if-changed=../ports/toolchain/order.txt");
}

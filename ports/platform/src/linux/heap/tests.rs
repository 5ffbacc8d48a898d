use super::*;

#[test]
fn classes_fit_closely() {
    let mut last = 0;
    for size in 1..=LARGEST {
        let class = class_of(size, 8).unwrap();
        assert!(
            class < CLASSES && class >= last && class <= last + 1,
            "{size}"
        );
        assert!(
            size_of(class) >= size && size_of(class).is_multiple_of(GRAIN),
            "{size}"
        );
        assert!(
            size_of(class) <= size + GRAIN.max(size / 4),
            "{size}: {}",
            size_of(class)
        );
        assert_eq!(class_of(size_of(class), 16), Some(class));
        last = class;
    }
    assert_eq!(last, CLASSES - 1);
    assert_eq!(class_of(LARGEST + 1, 1), None);
    assert_eq!(class_of(8, 32), None);
}

#[test]
fn blocks_for_c() {
    let heap = Heap::new();
    // SAFETY: blocks of this heap, each used within its size and freed once.
    unsafe {
        let mut block = c_realloc(&heap, null_mut(), 3);
        block.copy_from_nonoverlapping(b"abc".as_ptr(), 3);
        for size in [0, 4, 40, 5000, 70_000, 200_000, 8] {
            block = c_realloc(&heap, block, size.max(3));
            assert_eq!(block as usize % GRAIN, 0);
            assert_eq!(std::slice::from_raw_parts(block, 3), b"abc", "{size}");
        }
        c_free(&heap, block);
        c_free(&heap, null_mut());
        assert!(c_realloc(&heap, null_mut(), usize::MAX - 4).is_null());
    }
}

#[test]
fn trimmed_pages_are_gone_and_used_again() {
    let heap = Heap::new();
    let layout = Layout::from_size_align(1000, 8).unwrap();
    // SAFETY: blocks of this heap, each used within its size and freed once.
    unsafe {
        let blocks: Vec<*mut u8> = (0..200).map(|_| heap.alloc(layout)).collect();
        blocks.iter().for_each(|block| block.write_bytes(1, 1000));
        let kept = blocks[100];
        for block in blocks.iter().filter(|block| **block != kept) {
            heap.dealloc(*block, layout);
        }
        let from = blocks[0] as usize / PAGE * PAGE;
        heap.with(State::trim);
        let page = |at: usize| std::slice::from_raw_parts(at as *const u8, PAGE);
        let gone = (from..).step_by(PAGE).skip(1).take(48);
        let gone = gone.filter(|at| page(*at).iter().all(|byte| *byte == 0));
        assert!(gone.count() >= 46);
        assert!(
            std::slice::from_raw_parts(kept, 1000)
                .iter()
                .all(|b| *b == 1)
        );
        // As many again fit into the same chunk, and what is asked for as zero is.
        for _ in 0..240 {
            let block = heap.alloc_zeroed(layout);
            assert!((from..from + CHUNK).contains(&(block as usize)));
            let bytes = std::slice::from_raw_parts(block, 1000);
            assert!(bytes.iter().all(|byte| *byte == 0));
            block.write_bytes(1, 1000);
        }
    }
}

/// Many blocks of random sizes, grown, shrunk and freed in random order, keep what is in them.
#[test]
fn blocks_keep_what_is_in_them() {
    let heap = Heap::new();
    let seed = super::super::random::bits128() as u64;
    println!("seed {seed}");
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
    for round in 0..60_000usize {
        if random() % 2000 == 0 {
            heap.with(State::trim);
        }
        let size = 1 + random() % [40, 300, 5000, 100_000][random() % 4];
        let mark = round as u8;
        match random() % 4 {
            0 | 1 => {
                let align = [1, 8, 16, 64][random() % 4];
                let layout = Layout::from_size_align(size, align).unwrap();
                let zeroed = random() % 2 == 0;
                // SAFETY: a layout that is not empty; the block is as large.
                unsafe {
                    let block = if zeroed {
                        heap.alloc_zeroed(layout)
                    } else {
                        heap.alloc(layout)
                    };
                    assert_eq!(block as usize % align, 0);
                    if zeroed {
                        let bytes = std::slice::from_raw_parts(block, size);
                        assert!(bytes.iter().all(|byte| *byte == 0));
                    }
                    block.write_bytes(mark, size);
                    live.push((block, layout, mark));
                }
            }
            2 if !live.is_empty() => {
                let at = random() % live.len();
                let (block, layout, old) = live[at];
                // SAFETY: a live block of this layout.
                unsafe {
                    let new = heap.realloc(block, layout, size);
                    let kept = std::slice::from_raw_parts(new, size.min(layout.size()));
                    assert!(kept.iter().all(|byte| *byte == old));
                    new.write_bytes(mark, size);
                    let layout = Layout::from_size_align(size, layout.align()).unwrap();
                    live[at] = (new, layout, mark);
                }
            }
            _ if !live.is_empty() => {
                let (block, layout, mark) = live.swap_remove(random() % live.len());
                // SAFETY: a live block of this layout, not used afterwards.
                unsafe {
                    let bytes = std::slice::from_raw_parts(block, layout.size());
                    assert!(bytes.iter().all(|byte| *byte == mark));
                    heap.dealloc(block, layout);
                }
            }
            _ => {}
        }
    }
    for (block, layout, _) in live {
        // SAFETY: a live block of this layout.
        unsafe { heap.dealloc(block, layout) };
    }
}

#[test]
fn comparing_is_c_s() {
    let compare = |one: &[u8], other: &[u8]| {
        // SAFETY: both are this long.
        unsafe { c_compare(one.as_ptr(), other.as_ptr(), one.len()) }.signum()
    };
    for length in 0..40 {
        let one: Vec<u8> = (0..length).collect();
        assert_eq!(compare(&one, &one.clone()), 0);
        for at in 0..one.len() {
            let mut other = one.clone();
            other[at] ^= 0x80;
            assert_eq!((compare(&one, &other), compare(&other, &one)), (-1, 1));
            // What comes behind a difference does not count.
            other.iter_mut().skip(at + 1).for_each(|byte| *byte = 0);
            assert_eq!((compare(&one, &other), compare(&other, &one)), (-1, 1));
        }
    }
}

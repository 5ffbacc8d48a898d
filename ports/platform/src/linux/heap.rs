//! The heap of our own programs: small, quick, and packed.
//!
//! The C library's allocator spreads the sizes over groups of their own, takes some hundred
//! instructions for an allocation, and goes to the kernel for each large one. A manager or helper is
//! one thread that lives long, keeps little and allocates much for a moment; for that a list of free
//! blocks for each size is enough:
//!
//! * Sizes are rounded up to a class: steps of 16 bytes up to 256, then four classes for each
//!   doubling up to [`LARGEST`]. A freed block goes to the front of its class's list and is the next
//!   to be taken; it is never split or merged.
//! * New blocks are cut one after the other from a chunk of fresh pages, so that what is made together
//!   lies together. The last one grows in place.
//! * What is larger, or aligned to more than 16 bytes, is mapped by itself and given back when it is
//!   freed.
//!
//! What was once in use for small blocks is kept for the next ones, until whoever has nothing to do
//! calls [`trim`]: then pages in which no block is in use go back to the kernel, and their addresses
//! are cut anew. Several threads may use it; they spin for the few instructions it takes.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// The largest block that is cut from a chunk, in bytes.
const LARGEST: usize = 32 << 10;
/// A chunk, in bytes. Its pages exist only once they are used, so its size is no cost.
const CHUNK: usize = 256 << 10;
/// Blocks are aligned to this, in bytes; also the smallest block.
const GRAIN: usize = 16;
/// Up to here classes are a grain apart.
const FINE: usize = 256;
/// 16 up to 256, and four for each of the doublings from 512 to 32768.
const CLASSES: usize = FINE / GRAIN + 4 * 7;
/// Bytes of the smallest page there is.
const PAGE: usize = 4096;
/// Runs of untouched addresses besides the one that is cut from.
const RUNS: usize = 48;
/// Trimming is worth it after so many bytes were cut.
const GROWN: usize = 64 << 10;

/// A heap. There is one, the program's global allocator.
#[derive(Debug)]
pub struct Heap {
    busy: AtomicBool,
    state: UnsafeCell<State>,
}

#[derive(Debug)]
struct State {
    /// The first free block of each class; each holds the address of the next.
    free: [*mut u8; CLASSES],
    /// The run that is cut from: untouched, as addresses.
    next: usize,
    end: usize,
    /// Further such runs; an empty one is room for one.
    runs: [(usize, usize); RUNS],
    /// The newest chunk, or 0. A chunk begins with the address of the one before.
    chunk: usize,
    /// Bytes cut since the last trim.
    grown: usize,
}

/// The program's heap, if it has one of these.
static PROGRAM: AtomicPtr<Heap> = AtomicPtr::new(null_mut());

/// Makes this the heap that [`trim`] trims.
pub fn set(heap: &'static Heap) {
    PROGRAM.store(std::ptr::from_ref(heap).cast_mut(), Ordering::Release);
}

fn program() -> Option<&'static Heap> {
    // SAFETY: it is null or what `set` was given.
    unsafe { PROGRAM.load(Ordering::Acquire).as_ref() }
}

/// Whether the program's heap has grown so far that [`trim`] is worth it.
pub fn has_grown() -> bool {
    program().is_some_and(|heap| heap.with(|state| state.grown >= GROWN))
}

/// Gives the pages that the program does not use back to the kernel. To be called when what took them
/// is over, and there is nothing to do.
pub fn trim() {
    if let Some(heap) = program() {
        heap.with(State::trim);
    }
}

// SAFETY: the state is only touched by who holds `busy`.
unsafe impl Sync for Heap {}

/// Class of a layout; `None` for what is mapped by itself.
#[inline(always)]
fn class_of(size: usize, align: usize) -> Option<usize> {
    if align > GRAIN || size > LARGEST {
        return None;
    }
    if size <= FINE {
        return Some(size.saturating_sub(1) / GRAIN);
    }
    let doubling = (size - 1).ilog2() as usize;
    let quarter = ((size - 1) >> (doubling - 2)) & 3;
    Some(FINE / GRAIN + (doubling - 8) * 4 + quarter)
}

/// Bytes of a block of this class.
fn size_of(class: usize) -> usize {
    match class.checked_sub(FINE / GRAIN) {
        None => (class + 1) * GRAIN,
        Some(above) => (above % 4 + 5) << (above / 4 + 6),
    }
}

/// Fresh zeroed pages, or null.
fn map(size: usize) -> *mut u8 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let at = unsafe { libc::mmap(null_mut(), size, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return null_mut();
    }
    at.cast()
}

impl Heap {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            state: UnsafeCell::new(State {
                free: [null_mut(); CLASSES],
                next: 0,
                end: 0,
                runs: [(0, 0); RUNS],
                chunk: 0,
                grown: 0,
            }),
        }
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        while self.busy.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: whoever set `busy` is alone here until it clears it; `act` allocates nothing.
        let result = act(unsafe { &mut *self.state.get() });
        self.busy.store(false, Ordering::Release);
        result
    }

    /// A block of this class, and whether it is fresh, that is zero.
    fn take(&self, class: usize) -> (*mut u8, bool) {
        self.with(|state| {
            let Some(first) = state.free.get_mut(class) else {
                return (null_mut(), false);
            };
            let block = *first;
            if block.is_null() {
                return (state.cut(size_of(class)), true);
            }
            // SAFETY: a free block holds the address of the next one, put there by `give`.
            *first = unsafe { *block.cast::<*mut u8>() };
            (block, false)
        })
    }

    /// Takes back a block of this class.
    ///
    /// # Safety
    ///
    /// It is one, and nobody uses it any more.
    unsafe fn give(&self, class: usize, block: *mut u8) {
        self.with(|state| {
            if let Some(first) = state.free.get_mut(class) {
                // SAFETY: the block is at least as large as an address, aligned, and free.
                unsafe { *block.cast::<*mut u8>() = *first };
                *first = block;
            }
        });
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Cuts fresh bytes, a multiple of the grain, from a run or a new chunk; null without memory.
    fn cut(&mut self, size: usize) -> *mut u8 {
        if self.end - self.next < size && !self.change_run(size) {
            return null_mut();
        }
        let block = self.next as *mut u8;
        self.next += size;
        self.grown += size;
        block
    }

    /// Goes on with a run that has room for this. What is left of the one before is kept if there is
    /// room to note it; it was never touched and costs nothing.
    fn change_run(&mut self, size: usize) -> bool {
        let left = (self.next, self.end);
        if let Some(run) = self.runs.iter_mut().find(|run| run.1 - run.0 >= size) {
            (self.next, self.end) = std::mem::replace(run, left);
            return true;
        }
        let chunk = map(CHUNK);
        if chunk.is_null() {
            return false;
        }
        if let Some(room) = self.runs.iter_mut().find(|run| run.0 == run.1) {
            *room = left;
        }
        // SAFETY: the chunk is ours, and larger than an address.
        unsafe { *chunk.cast::<usize>() = self.chunk };
        self.chunk = chunk as usize;
        (self.next, self.end) = (self.chunk + GRAIN, self.chunk + CHUNK);
        true
    }

    fn trim(&mut self) {
        self.grown = 0;
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let mut chunk = self.chunk;
        while chunk != 0 && (PAGE..=CHUNK).contains(&page) {
            self.trim_chunk(chunk, page);
            // SAFETY: a chunk begins with the address of the one before, and that page is in use.
            chunk = unsafe { *(chunk as *const usize) };
        }
    }

    /// Gives back the pages of a chunk that free blocks cover, as far as there is room to note them.
    fn trim_chunk(&mut self, chunk: usize, page: usize) {
        let mut free = [0u32; CHUNK / PAGE];
        self.walk(&mut |block, size| {
            let (mut at, end) = (block, block + size);
            while chunk <= at && at < end.min(chunk + CHUNK) {
                let upto = end.min(at / page * page + page);
                if let Some(bytes) = free.get_mut((at - chunk) / page) {
                    *bytes += (upto - at) as u32;
                }
                at = upto;
            }
            true
        });
        let mut pages = (chunk..).step_by(page).zip(free).take(CHUNK / page);
        while let Some((from, _)) = pages.find(|(_, bytes)| *bytes as usize == page) {
            let mut to = from + page;
            while pages
                .next()
                .is_some_and(|(_, bytes)| bytes as usize == page)
            {
                to += page;
            }
            let Some(room) = self.runs.iter().position(|run| run.0 == run.1) else {
                return;
            };
            let run = self.give_back(from, to);
            if let Some(room) = self.runs.get_mut(room) {
                *room = run;
            }
        }
    }

    /// Gives back pages that free blocks cover. Blocks that begin in them leave their lists and, as they lie
    /// side by side, are a run. One that begins before stays on its list, the next one's address is in its
    /// beginning.
    fn give_back(&mut self, from: usize, to: usize) -> (usize, usize) {
        let mut run = (to, to);
        self.walk(&mut |block, size| {
            let inside = from <= block && block < to;
            if inside {
                run = (run.0.min(block), run.1.max(block + size));
            }
            !inside
        });
        // SAFETY: nobody uses what is free; with the page size as it is, nothing else is hit. What is cut
        // from a run is zero, also where the pages stay, and where the last block ends beyond them.
        unsafe {
            if libc::madvise(from as *mut _, to - from, libc::MADV_DONTNEED) != 0 {
                (from as *mut u8).write_bytes(0, to - from);
            }
            (to as *mut u8).write_bytes(0, run.1 - to);
        }
        run
    }

    /// Shows all free blocks, each with its size; those that are not to be kept leave their lists.
    fn walk(&mut self, keep: &mut dyn FnMut(usize, usize) -> bool) {
        for (class, first) in self.free.iter_mut().enumerate() {
            let mut link: *mut *mut u8 = first;
            // SAFETY: `link` is the beginning of a list, or of a free block; both hold an address or null.
            unsafe {
                while !(*link).is_null() {
                    let next: *mut *mut u8 = (*link).cast();
                    if keep(next as usize, size_of(class)) {
                        link = next;
                    } else {
                        *link = *next;
                    }
                }
            }
        }
    }

    /// Makes the block that was cut last larger, if there is room.
    fn stretch(&mut self, block: *mut u8, from: usize, to: usize) -> bool {
        let last = block as usize + from == self.next;
        let fits = last && self.end - self.next >= to - from;
        if fits {
            self.next += to - from;
        }
        fits
    }
}

// SAFETY: blocks are at least as large as asked for, aligned, and nobody else's until they are freed
// (each is on one list or in use, and fresh ones do not overlap).
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_of(layout.size(), layout.align()) {
            Some(class) => self.take(class).0,
            None if layout.align() <= 4096 => map(layout.size()),
            None => null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout.size(), layout.align()) else {
            // SAFETY: by the same contract; what is mapped is zero.
            return unsafe { self.alloc(layout) };
        };
        let (block, fresh) = self.take(class);
        if !fresh && !block.is_null() {
            // SAFETY: the block is at least this large.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout.size(), layout.align()) {
            // SAFETY: by the caller's contract it is a block of this layout, and free.
            Some(class) => unsafe { self.give(class, block) },
            // SAFETY: the same; it was mapped by itself.
            None => unsafe {
                libc::munmap(block.cast(), layout.size());
            },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let before = class_of(layout.size(), layout.align());
        let after = class_of(size, layout.align());
        match (before, after) {
            (Some(before), Some(after)) => {
                let (from, to) = (size_of(before), size_of(after));
                if from == to || to > from && self.with(|state| state.stretch(block, from, to)) {
                    return block;
                }
            }
            (None, None) if layout.align() <= 4096 => {
                // SAFETY: a mapping of its own, of this size.
                let at = unsafe {
                    libc::mremap(block.cast(), layout.size(), size, libc::MREMAP_MAYMOVE)
                };
                return if at == libc::MAP_FAILED {
                    null_mut()
                } else {
                    at.cast()
                };
            }
            _ => {}
        }
        // SAFETY: the alignment is one already; `size` is not 0 by the caller's contract. Both blocks
        // are at least as large as what is copied, and differ.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// `malloc` and its kin out of a [`Heap`], for the few places where the C library itself allocates
/// (reading a directory): its own allocator is then left out of a static executable. A block begins
/// with its size, in a grain of its own.
///
/// # Safety
///
/// `block` is null or came from these functions of the same heap and was not freed; as in C.
pub unsafe fn c_realloc(heap: &Heap, block: *mut u8, size: usize) -> *mut u8 {
    let layout = |size: usize| Layout::from_size_align(size.saturating_add(GRAIN), GRAIN);
    let Ok(new) = layout(size) else {
        return null_mut();
    };
    // SAFETY: the layouts are those the blocks were made with, and have room for the size.
    unsafe {
        let start = if block.is_null() {
            heap.alloc(new)
        } else {
            let start = block.sub(GRAIN);
            match layout(*start.cast::<usize>()) {
                Ok(old) => heap.realloc(start, old, new.size()),
                Err(_) => null_mut(),
            }
        };
        if start.is_null() {
            return start;
        }
        *start.cast::<usize>() = size;
        start.add(GRAIN)
    }
}

/// See [`c_realloc`].
///
/// # Safety
///
/// As there.
pub unsafe fn c_free(heap: &Heap, block: *mut u8) {
    if block.is_null() {
        return;
    }
    // SAFETY: the layout it was made with.
    unsafe {
        let start = block.sub(GRAIN);
        let size = *start.cast::<usize>() + GRAIN;
        heap.dealloc(start, Layout::from_size_align_unchecked(size, GRAIN));
    }
}

/// C's `memcmp`, eight bytes at a time: musl compares byte by byte, and names are compared all the time.
///
/// # Safety
///
/// Both are as long as said.
pub unsafe fn c_compare(one: *const u8, other: *const u8, size: usize) -> i32 {
    // SAFETY: no more is read than there is.
    let words = |at: usize| unsafe {
        let (one, other): (*const u64, *const u64) = (one.add(at).cast(), other.add(at).cast());
        (one.read_unaligned(), other.read_unaligned())
    };
    let order = |(one, other): (u64, u64)| {
        if u64::from_be(one) < u64::from_be(other) {
            -1
        } else {
            1
        }
    };
    let mut at = 0;
    while size - at >= 8 {
        let (one, other) = words(at);
        if one != other {
            return order((one, other));
        }
        at += 8;
    }
    if size >= 8 {
        // What is left, and some that are equal before it.
        let (one, other) = words(size - 8);
        return if one == other { 0 } else { order((one, other)) };
    }
    while at < size {
        // SAFETY: as before.
        let (one, other) = unsafe { (*one.add(at), *other.add(at)) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
        at += 1;
    }
    0
}

/// Makes a [`Heap`] the allocator of an executable: of Rust's, and where the C library is musl, which
/// may be linked statically, of C's as well. There it has [`c_compare`], too.
#[macro_export]
macro_rules! use_heap {
    () => {
        #[global_allocator]
        static HEAP: $crate::heap::Heap = $crate::heap::Heap::new();

        #[cfg(target_env = "musl")]
        #[allow(unsafe_code, missing_docs)]
        mod c_heap {
            use super::HEAP;
            use $crate::heap::{c_compare, c_free, c_realloc};

            #[unsafe(no_mangle)]
            unsafe extern "C" fn malloc(size: usize) -> *mut u8 {
                // SAFETY: no block is given.
                unsafe { c_realloc(&HEAP, core::ptr::null_mut(), size) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut u8 {
                let Some(size) = count.checked_mul(size) else {
                    return core::ptr::null_mut();
                };
                // SAFETY: no block is given; the new one is as large as said.
                unsafe {
                    let block = c_realloc(&HEAP, core::ptr::null_mut(), size);
                    if !block.is_null() {
                        block.write_bytes(0, size);
                    }
                    block
                }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn realloc(block: *mut u8, size: usize) -> *mut u8 {
                // SAFETY: C's contract.
                unsafe { c_realloc(&HEAP, block, size) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn free(block: *mut u8) {
                // SAFETY: C's contract.
                unsafe { c_free(&HEAP, block) }
            }

            // Not in every place that compares something.
            #[inline(never)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, size: usize) -> i32 {
                // SAFETY: C's contract.
                unsafe { c_compare(one, other, size) }
            }

            #[inline(never)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, size: usize) -> i32 {
                // SAFETY: C's contract.
                unsafe { memcmp(one, other, size) }
            }
        }
    };
}

#[cfg(test)]
mod tests;

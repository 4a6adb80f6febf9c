//! The bytes that the program has allocated and not freed, with the feature `live-heap`.

#[cfg(feature = "live-heap")]
#[global_allocator]
static HEAP: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

/// Bytes in use now; `None` without the feature.
pub(crate) fn live_bytes() -> Option<u64> {
    #[cfg(feature = "live-heap")]
    return Some(HEAP.allocated() as u64);
    #[cfg(not(feature = "live-heap"))]
    None
}

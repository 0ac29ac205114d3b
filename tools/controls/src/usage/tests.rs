//! What is used is seen.

use super::*;

#[test]
fn work_and_memory_are_seen() {
    let before = cpu_time();
    let filled = std::hint::black_box(vec![1_u8; 32 << 20]);
    assert!(cpu_time() > before);
    assert!(memory_mib().expect("the kernel says") >= (filled.len() >> 20) as u64);
}

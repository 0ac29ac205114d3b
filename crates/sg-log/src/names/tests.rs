//! File names and numbers.

use std::path::Path;

use super::{pool, pool_number, segment, segment_number, unfinished};

#[test]
fn names_have_their_numbers() {
    for number in [0, 1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
        let name =
            |path: std::path::PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let dir = Path::new("somewhere");
        assert_eq!(name(segment(dir, number)).as_deref().and_then(segment_number), Some(number));
        assert_eq!(name(pool(dir, number)).as_deref().and_then(pool_number), Some(number));
        assert_eq!(name(unfinished(&pool(dir, number))).as_deref().and_then(pool_number), None);
    }
}

#[test]
fn other_names_have_none() {
    for name in
        ["", ".seg", "1.seg", "+0000000000000000001.seg", "99999999999999999999.seg", "identity", "x.seg"]
    {
        assert_eq!(segment_number(name), None, "{name}");
    }
}

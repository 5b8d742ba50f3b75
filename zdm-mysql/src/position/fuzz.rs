//! Texts of positions, for fuzzers.

use super::{GtidSet, Point};

/// A position of either server. What is read has one text, and has reached
/// itself.
pub fn position(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let set = text.parse::<GtidSet>();
    if let Ok(set) = &set {
        assert_eq!(&set.to_string().parse::<GtidSet>().expect("what was written is read"), set);
        assert!(set.contains(set) && set.without(set).is_empty());
        let mut encoded = Vec::new();
        set.encode(&mut encoded);
    }
    let Ok(point) = text.parse::<Point>() else { return set.is_ok() };
    let again = point.to_string();
    assert_eq!(again.parse::<Point>().expect("what was written is read"), point, "{text}");
    assert!(point.reached(&point).expect("it is of one kind with itself"));
    true
}

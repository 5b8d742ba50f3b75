//! Cells of every type, for fuzzers.

use bytes::BytesMut;
use zdm_core::change::Encoding as _;
use zdm_core::schema::{Column, DataType};

use super::copy::write_copy_value;
use super::encoding::{BINARY, PgEncoding, TEXT};
use super::text::write_value;

/// Types by their oids: scalars, and arrays of them.
pub const TYPES: [u32; 44] = [
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1560,
    1562, 1700, 2950, 3802, 869, 600, 3904, 1000, 1001, 1005, 1007, 1009, 1021, 1022, 1115, 1182, 1183, 1185,
    1187, 1231, 1270, 2951, 3807,
];

/// One cell: which type, which format, and its bytes. What it decodes to is
/// written and must decode to the same.
pub fn value(bytes: &[u8]) -> bool {
    let [which, format, cell @ ..] = bytes else { return false };
    let which = usize::from(*which) % (TYPES.len() + 2);
    let column = match TYPES.get(which) {
        Some(oid) => Column::new("c", DataType::Native).native("n", *oid),
        // A composite, whose text is passed on; an array of a domain.
        None if which == TYPES.len() => Column::new("c", DataType::Native).native("public.pair", 16_400),
        None => {
            Column::new("c", DataType::Array(DataType::decimal().into())).native("public.price[]", 16_401)
        }
    };
    let format = if format % 2 == 0 { TEXT } else { BINARY };
    let Ok(value) = PgEncoding.decode(&column, format, cell) else { return false };
    let (mut text, mut field) = (BytesMut::new(), BytesMut::new());
    // The binary form can say a moment that no calendar has.
    if write_value(&value, &mut text).is_err() {
        assert_eq!(format, BINARY, "what was text can be text again: {value:?}");
        return true;
    }
    let again = PgEncoding.decode(&column, TEXT, &text);
    assert_eq!(again.expect("what was written is read"), value);
    write_copy_value(&value, &mut field).expect("what can be text can be a field");
    assert!(!field.iter().any(|byte| matches!(byte, b'\t' | b'\n' | b'\r')), "a field ends where it ends");
    true
}

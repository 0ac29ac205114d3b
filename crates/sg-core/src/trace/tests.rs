//! What is a `traceparent` and what is none.

use super::*;

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const SPAN: u64 = 0xb7ad_6b71_6920_3331;

fn check(text: &str, expect: Option<bool>) {
    let expect = expect.map(|is_sampled| TraceContext { trace_id: TRACE, span_id: SPAN, is_sampled });
    assert_eq!(TraceContext::parse(text), expect, "{text:?}");
}

#[test]
fn reads_what_the_specification_has() {
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some(true));
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Some(false));
    check(" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03 ", Some(true));
    check("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later", Some(true));
}

#[test]
fn refuses_what_it_has_not() {
    check("", None);
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None);
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None);
    check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
    check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None);
    check("00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01", None);
    check("00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
    check("00-00000000000000000000000000000000-b7ad6b7169203331-01", None);
    check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None);
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g", None);
}

#[test]
fn writes_what_it_reads() {
    for is_sampled in [false, true] {
        let context = TraceContext { trace_id: 7, span_id: 1, is_sampled };
        assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
    }
}

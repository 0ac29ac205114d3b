//! URLs of archives.

use super::*;

#[test]
fn reads_urls() {
    let check = |url: &str, spelled: &str| {
        assert_eq!(Place::parse(url).expect(url).url(), spelled, "{url}");
    };
    check("file:./archive", "file:./archive");
    check("file:///var/archive", "file:/var/archive");
    check("s3://bucket", "s3://bucket/");
    check("s3://bucket/", "s3://bucket/");
    check("s3://bucket/a/b/", "s3://bucket/a/b/");
}

#[test]
fn refuses_others() {
    for url in
        ["", "file:", "s3://", "s3:///prefix", "gs://bucket", "s3://bucket/../x", "s3://b ucket", "./archive"]
    {
        assert!(Place::parse(url).is_err(), "{url}");
    }
}

#[test]
fn shows_no_secret() {
    let all = BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned())]);
    assert_eq!(format!("{:?}", Variables::of(&all)), "[\"AWS_SECRET_ACCESS_KEY\"]");
}

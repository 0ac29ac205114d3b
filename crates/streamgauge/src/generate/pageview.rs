//! Pageviews by postcode. They carry an id, unlike those of a browser, so that one sent again is a duplicate.

use sg_core::time::Timestamp;

use super::random::Random;

/// Postcode areas; each has [`DISTRICTS`] districts.
const AREAS: [&str; 29] = [
    "AB", "BA", "BN", "BS", "CB", "CF", "CV", "DE", "EC", "EH", "EX", "GU", "HP", "IP", "KT", "LE", "LS",
    "ME", "NE", "NG", "NW", "OX", "PL", "RG", "SE", "SO", "SW", "TN", "WC",
];
const DISTRICTS: usize = 100;
/// How many postcodes there are.
pub(crate) const POSTCODES: usize = AREAS.len() * DISTRICTS;
const USERS: u64 = 9_999;
const PAGES: [(u64, &str); 5] = [
    (8, "www.website.com/index.html"),
    (4, "www.website.com/products.html"),
    (3, "www.website.com/search.html"),
    (2, "www.website.com/basket.html"),
    (1, "www.website.com/contact.html"),
];

/// Returns one of the [`POSTCODES`], such as `SW19`.
pub(crate) fn postcode(index: usize) -> String {
    let area = AREAS[index / DISTRICTS % AREAS.len()];
    format!("{area}{}", 1 + index % DISTRICTS)
}

/// Appends the next pageview.
pub(crate) fn write(random: &mut Random, id: u128, at: Timestamp, line: &mut String) {
    // The smaller of two draws: some postcodes are much busier than others.
    let place = random.index(POSTCODES).min(random.index(POSTCODES));
    let (user, seconds) = (1 + random.below(USERS), at.0.div_euclid(1_000));
    let (code, page) = (postcode(place), random.weighted(&PAGES));
    *line += &format!(
        r#"{{"event_id":"{id:032x}","user_id":{user},"postcode":"{code}","webpage":"{page}","timestamp":{seconds}}}"#
    );
}

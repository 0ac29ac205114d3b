//! Sketches merge in any order to the same answer, which is near the true one; bytes come back as they were.

use proptest::prelude::*;

use super::*;

fn distinct(values: &[u32]) -> Distinct {
    let mut sketch = Distinct::default();
    values.iter().for_each(|value| sketch.add(&value.to_le_bytes()));
    sketch
}

fn quantile(values: &[i128]) -> Quantile {
    let mut sketch = Quantile::default();
    values.iter().for_each(|value| sketch.add(*value));
    sketch
}

fn any_value() -> impl Strategy<Value = i128> {
    (0u32..90, any::<i128>()).prop_map(|(bits, value)| value % (1i128 << bits))
}

proptest! {
    #[test]
    fn quantiles_are_a_function_of_the_set(
        values in prop::collection::vec(any_value(), 1..200), at in 0usize..200, q_ppm in 0u32..=1_000_000,
    ) {
        let whole = quantile(&values);
        let (left, right) = values.split_at(at.min(values.len()));
        let mut merged = quantile(right);
        merged.merge(&quantile(left));
        prop_assert_eq!(merged.to_bytes(), whole.to_bytes());
        prop_assert_eq!(&Quantile::from_bytes(&whole.to_bytes()), &Ok(whole.clone()));

        let mut sorted = values;
        sorted.sort_unstable();
        let rank = (sorted.len() * q_ppm as usize).div_ceil(1_000_000).max(1);
        let (exact, read) = (sorted[rank - 1], whole.read(q_ppm).expect("there are values"));
        prop_assert!((read - exact).unsigned_abs() <= exact.unsigned_abs() / 128, "{read} for {exact}");
    }

    #[test]
    fn distinct_is_a_function_of_the_set(
        values in prop::collection::vec(0u32..5_000, 0..6_000), at in 0usize..6_000,
    ) {
        let whole = distinct(&values);
        let mut reversed = values.clone();
        reversed.reverse();
        prop_assert_eq!(&distinct(&reversed), &whole);
        let (left, right) = values.split_at(at.min(values.len()));
        let mut merged = distinct(right);
        let stored = Distinct::from_bytes(&distinct(left).to_bytes()).expect("it is one");
        merged.merge(&stored);
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.estimate(), whole.estimate());
    }

    #[test]
    fn unreadable_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for read in [Quantile::from_bytes(&bytes).is_ok(), Distinct::from_bytes(&bytes).is_ok(), Top::from_bytes(&bytes).is_ok()] {
            prop_assert!(read || !bytes.starts_with(&[1]) || bytes.len() > 1);
        }
    }

    #[test]
    fn top_keeps_its_bounds(
        values in prop::collection::vec(0u32..2_000, 0..4_000), parts in 1usize..6,
    ) {
        let mut merged = Top::new(3);
        for part in values.chunks(values.len().div_ceil(parts).max(1)) {
            let mut sketch = Top::new(3);
            // Squared, so that some values come often.
            part.iter().for_each(|value| sketch.add(&(value * value / 40_000).to_string()));
            let stored = Top::from_bytes(&sketch.to_bytes()).expect("it is one");
            merged.merge(&stored);
        }
        for Frequent { value, count, error } in merged.frequent(3) {
            let exact = values.iter().filter(|of| (*of * *of / 40_000).to_string() == value).count() as u64;
            prop_assert!(count - error <= exact && exact <= count, "{value}: {exact} of {count} - {error}");
        }
    }
}

#[test]
fn a_million_users_are_told_within_three_percent() {
    let sketch = distinct(&(0..1_000_000).collect::<Vec<u32>>());
    let estimate = sketch.estimate();
    assert!((970_000..=1_030_000).contains(&estimate), "{estimate}");
    assert!(sketch.to_bytes().len() < 4_200, "{} bytes", sketch.to_bytes().len());
}

#[test]
fn few_values_are_told_exactly() {
    for count in [0u32, 1, 8, 9, 100, 300] {
        assert_eq!(distinct(&(0..count).collect::<Vec<u32>>()).estimate(), u64::from(count));
    }
}

#[test]
fn a_short_list_of_values_is_exact() {
    let mut sketch = Top::new(2);
    ["a", "b", "a", "c", "b", "a"].iter().for_each(|value| sketch.add(value));
    let shown: Vec<(String, u64, u64)> =
        sketch.frequent(2).into_iter().map(|of| (of.value, of.count, of.error)).collect();
    assert_eq!(shown, [("a".to_owned(), 3, 0), ("b".to_owned(), 2, 0)]);
}

#[test]
fn quantiles_of_small_numbers_are_exact() {
    let sketch = quantile(&(-100..=100).collect::<Vec<i128>>());
    assert_eq!(
        [0, 250_000, 500_000, 1_000_000].map(|q| sketch.read(q)),
        [Some(-100), Some(-50), Some(0), Some(100)]
    );
    assert_eq!(Quantile::default().read(500_000), None);
}

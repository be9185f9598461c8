//! Natural order: text in the order in which people count, `v10` after `v9`.

use std::cmp::Ordering;

/// Compares text with the numbers in it as numbers, `v10` after `v9`.
///
/// Equal only for equal text: where numbers are equal but written differently, bytes decide.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while !left.is_empty() && !right.is_empty() {
        let (piece_a, rest_a) = piece(left);
        let (piece_b, rest_b) = piece(right);
        let both_numbers = piece_a.as_bytes()[0].is_ascii_digit() && piece_b.as_bytes()[0].is_ascii_digit();
        let order = if both_numbers {
            let (number_a, number_b) = (piece_a.trim_start_matches('0'), piece_b.trim_start_matches('0'));
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            piece_a.cmp(piece_b)
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (rest_a, rest_b);
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The leading run of digits, or of anything else, and what follows it.
fn piece(text: &str) -> (&str, &str) {
    let is_digit = text.as_bytes()[0].is_ascii_digit();
    let end = text.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_come_in_the_order_in_which_they_were_made() {
        let mut versions = ["10", "9", "3.14", "3.9", "3.9-slim", "xenial", "3.09"];
        versions.sort_by(|a, b| natural(a, b));
        assert_eq!(versions, ["3.09", "3.9", "3.9-slim", "3.14", "9", "10", "xenial"]);
    }

    proptest! {
        #[test]
        fn natural_order_is_a_total_order(a in "[a-c0-3.]{0,6}", b in "[a-c0-3.]{0,6}", c in "[a-c0-3.]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b) == Ordering::Equal, a == b);
            if natural(&a, &b) != Ordering::Greater && natural(&b, &c) != Ordering::Greater {
                prop_assert!(natural(&a, &c) != Ordering::Greater);
            }
        }
    }
}

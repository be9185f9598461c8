//! Figures as lines of text, beside the bounds that some of them have.

/// The line above the figures.
pub(crate) fn heading() {
    println!("{:<66} {:>9}    bound", "", "measured");
}

pub(crate) fn at_least(what: &str, unit: &str, found: f64, bound: f64) -> bool {
    line(what, unit, found, &format!("at least {bound} {unit}"), found >= bound)
}

pub(crate) fn at_most(what: &str, unit: &str, found: f64, bound: f64) -> bool {
    line(what, unit, found, &format!("at most {bound} {unit}"), found <= bound)
}

/// A figure without a bound.
pub(crate) fn note(what: &str, unit: &str, found: f64) {
    line(what, unit, found, "", true);
}

/// What has no unit is a number of things.
fn line(what: &str, unit: &str, found: f64, bound: &str, is_kept: bool) -> bool {
    let digits = usize::from(!unit.is_empty());
    let verdict = if is_kept { "" } else { "  MISSED" };
    println!("{what:<66} {found:>9.digits$} {unit:<2} {}{verdict}", bound.trim());
    is_kept
}

use super::*;

/// What becomes of a layer of so many files, of which this much may be kept.
fn read(name_bytes: usize, count: u32, name: impl Fn(u32) -> Vec<u8>, content: &[u8]) -> Result<Limits, Flaw> {
    let limits = Limits { name_bytes, ..Limits::default() };
    let mut builder = Builder::new(limits);
    for number in 0..count {
        let size = content.len() as u64;
        builder.entry(Entry { path: name(number), content: Content::File { size, is_executable: true } })?;
        builder.bytes(content);
        builder.end()?;
    }
    Ok(Limits { name_bytes: limits.name_bytes - builder.kept_bytes, ..limits })
}

#[test]
fn what_files_say_of_what_starts_them_is_kept_within_a_limit() {
    let name = |number: u32| format!("{number:04}").into_bytes();
    let script = format!("#!{}\n", "x".repeat(200));
    assert_eq!(read(10_000, 40, name, script.as_bytes()).map(|left| left.name_bytes), Ok(10_000 - 40 * 204));
    let flaw = read(10_000, 50, name, script.as_bytes()).expect_err("it is too much");
    assert_eq!(flaw.to_string(), "it has more than 49 files, or too long names for them");
    assert_eq!(read(10_000, 50, name, b"text").map(|left| left.name_bytes), Ok(9800));
}

#[test]
fn names_count_as_they_are_kept() {
    let name = |number: u32| [&number.to_be_bytes()[..], &[0xff; 96]].concat();
    let plain = |number: u32| format!("{number:0100}").into_bytes();
    assert!(read(20_000, 100, plain, b"").is_ok());
    assert!(read(20_000, 100, name, b"").is_err(), "bytes that are no text take four each");
}

//! Which tags carry which architecture of which version.

use std::collections::BTreeMap;

use crate::model::{ArchChoice, ArchTag, Meaning, Pattern, Tag, Words};

/// The architecture tags among `tags`, by the plain tag that they belong to.
///
/// Tags of another form (`latest`, `sha256-….sig`, `buildcache`) belong to none.
pub fn by_version<'a>(
    tags: impl IntoIterator<Item = &'a Tag>,
    pattern: &Pattern,
    words: &Words,
) -> BTreeMap<Tag, Vec<ArchTag>> {
    let mut versions: BTreeMap<Tag, Vec<ArchTag>> = BTreeMap::new();
    for arch_tag in tags.into_iter().filter_map(|tag| pattern.read(tag, words)) {
        versions.entry(arch_tag.version.clone()).or_default().push(arch_tag);
    }
    versions
}

/// The tag under which `choice` would be found for `version`, whether it exists or not; none if
/// no tag can be it, because it would be too long or would read as another word's.
pub fn expected(choice: &ArchChoice, version: &Tag, pattern: &Pattern, words: &Words) -> Option<ArchTag> {
    let tag = pattern.write(&choice.word, version)?;
    let read_back = pattern.read(&tag, words)?;
    (read_back.word == choice.word).then(|| ArchTag {
        tag,
        word: choice.word.clone(),
        meaning: Meaning::Promise(choice.promise.clone()),
        version: version.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dialect;

    #[test]
    fn tags_are_grouped_by_the_version_that_they_name() {
        let tags: Vec<Tag> = ["amd64-xenial", "latest", "arm64-bionic", "armhf-xenial", "xenial", "sha256-ab.sig"]
            .map(|tag| tag.parse().expect("a tag"))
            .to_vec();
        let versions = by_version(&tags, &Pattern::default(), &Words::of(Dialect::Debian));
        let text: Vec<String> = versions
            .iter()
            .map(|(version, tags)| {
                format!("{version}: {}", tags.iter().map(|t| t.word.as_str()).collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(text, ["bionic: arm64", "xenial: amd64 armhf"]);
    }

    #[test]
    fn a_tag_that_reads_as_another_words_is_not_expected() {
        let words = Words::of(Dialect::Debian);
        let arm = words.choose("arm").expect("a word");
        let expected = |version: &str| {
            expected(&arm, &version.parse().expect("a tag"), &Pattern::default(), &words).map(|t| t.tag.to_string())
        };
        assert_eq!(expected("xenial"), Some("arm-xenial".to_owned()));
        assert_eq!(expected("v7-xenial"), None, "`arm-v7-xenial` belongs to `xenial`");
    }
}

use super::*;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use tempfile::TempDir;

fn repository() -> Repository {
    "r.example.com/acme/ubuntu".parse().expect("a repository")
}

fn digest(number: u32) -> Digest {
    Digest::of(&number.to_le_bytes())
}

fn facts_in(folder: &TempDir) -> Facts {
    Facts::kept_by(Arc::new(Cache::at(folder.path().join("cache"), &repository())))
}

fn file(folder: &TempDir) -> PathBuf {
    let cache = Cache::at(folder.path().join("cache"), &repository());
    cache.folder.join(&cache.name)
}

fn fact(number: u32) -> Bytes {
    Bytes::from(format!("fact {number} {}", "x".repeat(number as usize % 50)))
}

fn learn(folder: &TempDir, numbers: std::ops::Range<u32>) {
    let facts = facts_in(folder);
    numbers.for_each(|number| facts.learn("k-1", &digest(number), fact(number)));
}

async fn known(folder: &TempDir, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let facts = facts_in(folder);
    let mut known = Vec::new();
    for number in numbers {
        match facts.recall("k-1", &digest(number)).await {
            Some(found) if found == fact(number) => known.push(number),
            Some(found) => panic!("{number} is {found:?}"),
            None => {}
        }
    }
    known
}

#[tokio::test]
async fn what_one_run_learns_the_next_one_knows() {
    let folder = TempDir::new().expect("a folder");
    learn(&folder, 0..3_000);
    learn(&folder, 3_000..3_010);
    assert_eq!(known(&folder, 0..3_011).await, (0..3_010).collect::<Vec<_>>());
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&folder.path().join("cache")), mode(&folder.path().join("cache/facts-1"))), (0o700, 0o700));
    assert_eq!(mode(&file(&folder)), 0o600);
}

#[tokio::test]
async fn runs_that_overlap_keep_what_each_of_them_learned() {
    let folder = TempDir::new().expect("a folder");
    let (one, other) = (facts_in(&folder), facts_in(&folder));
    for number in 0..4_000 {
        let facts = if number % 2 == 0 { &one } else { &other };
        facts.learn("k-1", &digest(number), fact(number));
    }
    drop((one, other));
    assert_eq!(known(&folder, 0..4_000).await.len(), 4_000);
}

#[tokio::test]
async fn what_was_appended_can_be_read_by_the_same_run() {
    let folder = TempDir::new().expect("a folder");
    let cache = Cache::at(folder.path().join("cache"), &repository());
    for number in 0..2_000 {
        cache.learn("k-1", &digest(number), fact(number).to_vec());
    }
    let read = cache.recall("k-1", &digest(0)).await;
    assert_eq!(read, Some(fact(0)));
}

#[tokio::test]
async fn a_file_of_rubbish_is_no_trouble() {
    let folder = TempDir::new().expect("a folder");
    learn(&folder, 0..1);
    std::fs::write(file(&folder), [MARK; 5_000]).expect("it can be written");
    assert_eq!(known(&folder, 0..1).await, [0u32; 0]);
    learn(&folder, 0..1);
    assert_eq!(known(&folder, 0..1).await, [0]);
}

#[tokio::test]
async fn a_file_that_has_grown_too_large_is_begun_anew() {
    let folder = TempDir::new().expect("a folder");
    learn(&folder, 0..1);
    let large = OpenOptions::new().write(true).open(file(&folder)).expect("it is there");
    large.set_len(LARGEST_FILE + 1).expect("it can grow");
    assert_eq!(known(&folder, 0..1).await, [0u32; 0]);
    assert_eq!(std::fs::metadata(file(&folder)).expect("it is there").len(), 0);
}

#[tokio::test]
async fn the_oldest_files_go_when_the_folder_is_full() {
    let folder = TempDir::new().expect("a folder");
    learn(&folder, 0..1);
    let other = |name: &str| file(&folder).with_file_name(name);
    for name in ["a", "b", "c", "d", "e"] {
        File::create(other(name)).and_then(|file| file.set_len(LARGEST_FILE)).expect("a sparse file");
    }
    assert_eq!(known(&folder, 0..1).await, [0], "one's own stays");
    let left: u64 =
        ["a", "b", "c", "d", "e"].iter().filter_map(|name| std::fs::metadata(other(name)).ok()).map(|m| m.len()).sum();
    assert!(left > 0 && left <= LARGEST_FOLDER, "{left}");
}

#[tokio::test]
async fn a_folder_that_others_may_write_into_is_not_believed() {
    let folder = TempDir::new().expect("a folder");
    learn(&folder, 0..1);
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path().join("cache/facts-1"), open).expect("it is ours");
    assert_eq!(known(&folder, 0..1).await, [0u32; 0]);
}

#[test]
fn the_cache_is_where_the_users_other_caches_are() {
    let folder = |set: &[(&str, &str)]| {
        let value = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        super::folder(value).map(|path| path.display().to_string())
    };
    let home = ("HOME", "/home/me");
    assert_eq!(folder(&[home, ("XDG_CACHE_HOME", "/xdg"), ("ONETAG_CACHE_DIR", "here")]).as_deref(), Some("here"));
    assert_eq!(folder(&[home, ("XDG_CACHE_HOME", "/xdg"), ("ONETAG_CACHE_DIR", "")]).as_deref(), Some("/xdg/onetag"));
    assert_eq!(folder(&[home, ("XDG_CACHE_HOME", "xdg")]).as_deref(), Some("/home/me/.cache/onetag"));
    assert_eq!(folder(&[]), None);
}

/// Learns facts, damages the file and cuts it, and learns them again.
fn damage_and_learn_again(damage: &[(usize, u8)], cut: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let folder = TempDir::new().expect("a folder");
        learn(&folder, 0..30);
        let mut bytes = std::fs::read(file(&folder)).expect("it is there");
        let length = bytes.len();
        for (place, byte) in damage {
            bytes[place % length] = *byte;
        }
        bytes.truncate(length - cut / 4 % length);
        std::fs::write(file(&folder), &bytes).expect("it can be written");
        let before = known(&folder, 0..30).await;
        learn(&folder, 0..30);
        assert_eq!(known(&folder, 0..30).await.len(), 30, "it is rebuilt; {} were left", before.len());
    });
}

#[test]
fn a_file_that_ends_within_a_damaged_entry_is_rebuilt() {
    damage_and_learn_again(&[(3575, 0)], 1580);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_costs_facts_and_never_changes_one(
        damage in proptest::collection::vec((0usize..4_000, any::<u8>()), 1..8),
        cut in 0usize..4_000,
    ) {
        damage_and_learn_again(&damage, cut);
    }
}

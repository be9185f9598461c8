//! The order in which things are found decides nothing.

use proptest::prelude::*;

use super::*;

/// One of everything that can be found, with two labels each.
fn everything() -> Vec<Observation> {
    let label = |observation, i: usize| {
        labelled(labelled(observation, "revision", ["a", "b"][i % 2]), "version", ["1", "2", "3"][i % 3])
    };
    let images = [
        image("amd64-xenial", "linux/amd64"),
        image("x86_64-xenial", "linux/amd64/v3"),
        image_like("x64-xenial", "linux/amd64", "amd64-xenial"),
        attested(image("arm64-xenial", "linux/arm64/v8")),
        image("armhf-xenial", "linux/arm/v6"),
        image_like("armel-xenial", "linux/arm", "arm"),
        image_like("arm-xenial", "linux/arm", "arm"),
        image("i386-xenial", "linux/amd64"),
        docker(image("s390x-xenial", "linux/s390x")),
    ];
    let mut observed: Vec<Observation> = images.into_iter().enumerate().map(|(i, o)| label(o, i)).collect();
    observed.push(missing("ppc64el-xenial"));
    observed.push(missing("riscv64-xenial"));
    observed.push(unfit("mips-xenial", Unfit::NotAnImage("a chart".to_owned())));
    observed.push(unfit("x86-xenial", Unfit::AmbiguousWord));
    observed
}

proptest! {
    #[test]
    fn any_order_of_observations_gives_the_same_plan(
        order in Just((0..13usize).collect::<Vec<_>>()).prop_shuffle(),
        take in 1..=13usize,
        on_mismatch in prop_oneof![Just(OnMismatch::Hold), Just(OnMismatch::Skip), Just(OnMismatch::TrustTag)],
        asks_for_labels: bool,
        has_published: bool,
    ) {
        let all = everything();
        let policy = Policy {
            on_mismatch,
            required: vec![arch("amd64"), arch("riscv64")],
            same_labels: if asks_for_labels { vec!["revision".to_owned(), "version".to_owned()] } else { Vec::new() },
            ..Policy::default()
        };
        let published = || index_of(if has_published { &["linux/amd64", "linux/ppc64le"] } else { &[] });
        let mut chosen: Vec<usize> = order[..take].to_vec();
        let shuffled: Vec<Observation> = chosen.iter().map(|i| all[*i].clone()).collect();
        chosen.sort_unstable();
        let sorted: Vec<Observation> = chosen.iter().map(|i| all[*i].clone()).collect();
        prop_assert_eq!(
            decide_over(published(), &shuffled, &policy),
            decide_over(published(), &sorted, &policy)
        );
    }

    #[test]
    fn what_is_required_may_be_named_in_any_order(
        order in Just(vec!["amd64", "arm64", "armhf", "s390x", "linux/ppc64le"]).prop_shuffle(),
    ) {
        let policy = |words: &[&str]| Policy { required: words.iter().map(|word| arch(word)).collect(), ..Policy::default() };
        let observed = [image("amd64-xenial", "linux/amd64")];
        prop_assert_eq!(
            decide(&observed, &policy(&order)).reasons,
            decide(&observed, &policy(&["amd64", "arm64", "armhf", "s390x", "linux/ppc64le"])).reasons
        );
    }

    #[test]
    fn planning_again_over_what_was_published_writes_nothing(
        which in proptest::collection::vec(any::<bool>(), 4),
        attests: bool,
    ) {
        let all = [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armhf", "linux/arm/v7"), ("s390x", "linux/s390x")];
        let observed: Vec<Observation> = all
            .iter()
            .zip(which)
            .filter(|(_, is_there)| *is_there)
            .map(|((word, platform), _)| image(&format!("{word}-xenial"), platform))
            .map(|observation| if attests { attested(observation) } else { observation })
            .collect();
        prop_assume!(!observed.is_empty());
        let first = decide(&observed, &Policy::default());
        let second = decide_over(served(&first), &observed, &Policy::default());
        prop_assert!(matches!(second.decision, Decision::Keep(_)));
    }
}

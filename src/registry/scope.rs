//! What a token is asked for.
//!
//! Protocol: distribution's "Token Scope Documentation".

use super::Access;

/// What the list of all repositories is called in a scope.
const CATALOG: &str = "registry:catalog:*";

/// What to ask for: what the registry demands first (some token servers read only that), with
/// everything that this process wants to do in the repository, one scope for each resource.
pub(super) fn scopes(demanded: &[String], path: &str, access: Access) -> Vec<String> {
    if path.is_empty() {
        return vec![CATALOG.to_owned()];
    }
    let ours = format!("repository:{path}:");
    let mut actions: Vec<&str> = access.as_str().split(',').collect();
    let mut scopes: Vec<String> = Vec::new();
    let mut is_asked = false;
    for scope in demanded {
        match scope.strip_prefix(&ours) {
            None => scopes.push(scope.clone()),
            Some(more) => {
                actions.extend(more.split(',').filter(|a| !a.is_empty()).filter(|a| !access.as_str().contains(*a)));
                if !is_asked {
                    scopes.push(String::new());
                }
                is_asked = true;
            }
        }
    }
    actions.dedup();
    let own = format!("{ours}{}", actions.join(","));
    match scopes.iter_mut().find(|scope| scope.is_empty()) {
        Some(place) => *place = own,
        None => scopes.push(own),
    }
    scopes.truncate(8);
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(demanded: &[&str], access: Access) -> String {
        let demanded: Vec<String> = demanded.iter().map(|s| (*s).to_owned()).collect();
        scopes(&demanded, "a/b", access).join(" ")
    }

    #[test]
    fn one_scope_for_all_that_is_done_in_a_repository() {
        assert_eq!(asked(&["repository:a/b:pull"], Access::Publish), "repository:a/b:pull,push");
        assert_eq!(asked(&["repository:a/b:pull"], Access::Read), "repository:a/b:pull");
        assert_eq!(asked(&[], Access::Publish), "repository:a/b:pull,push");
        assert_eq!(scopes(&["repository:a/b:pull".to_owned()], "", Access::Publish), ["registry:catalog:*"]);
        assert_eq!(asked(&["repository:a/b:*"], Access::Publish), "repository:a/b:pull,push,*");
    }

    #[test]
    fn what_the_registry_demands_comes_first() {
        assert_eq!(
            asked(&["repository:c/d:pull", "repository:a/b:pull"], Access::Publish),
            "repository:c/d:pull repository:a/b:pull,push"
        );
        assert_eq!(asked(&["registry:catalog:*"], Access::Read), "registry:catalog:* repository:a/b:pull");
    }
}

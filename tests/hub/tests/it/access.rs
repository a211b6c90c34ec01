//! Who gets to see what, and the words in which others are turned away.

use reqwest::Method;
use test_hub::Hub;

use crate::asking::{ask, get, get_as, tiny_hub};

fn hub() -> Hub {
    let hub = Hub::builder().token("alice", "hf_alice").token("bob", "hf_bob").start().unwrap();
    for repo in ["acme/secret", "acme/gated", "acme/open"] {
        hub.commit(repo, [("config.json", "{}")]).unwrap();
    }
    hub.set_private("acme/secret", &["alice"]).unwrap();
    hub.set_gated("acme/gated", &["alice"]).unwrap();
    hub
}

#[tokio::test]
async fn private_and_missing_repositories_look_the_same() {
    let hub = hub();
    for what in ["/resolve/main/config.json", ""] {
        let start = if what.is_empty() { "/api/models" } else { "" };
        let path = |name: &str| format!("{start}/acme/{name}{what}");
        for name in ["secret", "missing"] {
            let anonymous = get(&hub, &path(name)).await;
            assert_eq!((anonymous.status, anonymous.header("x-error-code")), (401, "RepoNotFound"));
            let other = get_as(&hub, &path(name), "hf_bob").await;
            assert_eq!((other.status, other.header("x-error-code")), (404, "RepoNotFound"));
        }
        assert_eq!(get_as(&hub, &path("secret"), "hf_alice").await.status, 200);
    }
}

#[tokio::test]
async fn gated_repository_lists_but_does_not_resolve() {
    let hub = hub();
    let info = get(&hub, "/api/models/acme/gated").await;
    assert_eq!((info.status, info.json()["gated"].as_str()), (200, Some("auto")));
    assert_eq!(get(&hub, "/api/models/acme/gated/tree/main").await.status, 200);
    let file = "/acme/gated/resolve/main/config.json";
    let anonymous = get(&hub, file).await;
    assert_eq!((anonymous.status, anonymous.header("x-error-code")), (401, "GatedRepo"));
    let other = get_as(&hub, file, "hf_bob").await;
    assert_eq!((other.status, other.header("x-error-code")), (403, "GatedRepo"));
    assert!(other.header("x-error-message").contains("not in the authorized list"));
    assert_eq!(get_as(&hub, file, "hf_alice").await.status, 200);
}

#[tokio::test]
async fn disabled_repository_says_so() {
    let hub = hub();
    hub.set_disabled("acme/open", true).unwrap();
    for path in ["/acme/open/resolve/main/config.json", "/api/models/acme/open"] {
        let answer = get(&hub, path).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header("x-error-message"), "Access to this resource is disabled.");
    }
}

#[tokio::test]
async fn wrong_token_is_refused_even_where_none_is_needed() {
    let hub = hub();
    for path in ["/acme/open/resolve/main/config.json", "/api/models/acme/open", "/api/whoami-v2"] {
        let answer = get_as(&hub, path, "hf_wrong").await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("x-error-message"), "Invalid credentials in Authorization header");
        assert_eq!(answer.header("x-error-code"), "");
    }
    let url = format!("{}/api/models/acme/open", hub.endpoint());
    assert_eq!(ask(Method::GET, &url, &[("authorization", "Basic abc")]).await.status, 401);
}

#[tokio::test]
async fn token_has_a_name() {
    let hub = hub();
    assert_eq!(get_as(&hub, "/api/whoami-v2", "hf_bob").await.json()["name"], "bob");
    assert_eq!(get(&hub, "/api/whoami-v2").await.status, 401);
}

#[tokio::test]
async fn renamed_repository_redirects_on_every_surface() {
    let (hub, _) = tiny_hub();
    hub.rename_repo("acme/tiny", "acme/small");
    let answer = get(&hub, "/acme/tiny/resolve/main/config.json?download=true").await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("location"), "/acme/small/resolve/main/config.json?download=true");
    let answer = get(&hub, "/api/models/acme/tiny/revision/main").await;
    assert_eq!((answer.status, answer.header("location")), (307, "/api/models/acme/small/revision/main"));
    assert_eq!(get(&hub, "/acme/small/resolve/main/config.json").await.status, 200);
}

#[tokio::test]
async fn other_case_redirects_to_the_true_name() {
    let (hub, _) = tiny_hub();
    let answer = get(&hub, "/Acme/TINY/resolve/main/config.json").await;
    assert_eq!((answer.status, answer.header("location")), (307, "/acme/tiny/resolve/main/config.json"));
}

#[tokio::test]
async fn new_name_of_a_private_repository_is_not_told() {
    let hub = hub();
    hub.rename_repo("acme/secret", "acme/hidden");
    assert_eq!(get(&hub, "/api/models/acme/secret").await.status, 401);
    assert_eq!(get_as(&hub, "/api/models/acme/secret", "hf_alice").await.status, 307);
}

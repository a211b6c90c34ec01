//! The query string of a request, or a form's body.

use url::form_urlencoded;

pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &[u8]) -> Self {
        Query(form_urlencoded::parse(text).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// `true`, `True` and `1` are true.
    pub fn flag(&self, name: &str) -> bool {
        let value = self.get(name);
        value.is_some_and(|text| text.eq_ignore_ascii_case("true") || text == "1")
    }
}

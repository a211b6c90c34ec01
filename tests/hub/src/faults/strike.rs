//! Which requests are struck, and how often.
//!
//! Every rule that matches a request and has uses left takes part; where two give the same effect, the earlier one
//! counts. A rule only matches where its effect can show: body effects never on HEAD, range effects only where a Range
//! was asked for, `corrupt_at` only where that byte was. Uses are counted under one lock, so `count` is exact however
//! many requests come at once.

use axum::http::Method;
use parking_lot::Mutex;

use super::{Fault, Faults, Target};
use crate::range::Asked;

impl Fault {
    fn matches(&self, asked: &Struck) -> bool {
        let method = self.method.as_deref();
        self.target.is_none_or(|target| target == asked.target)
            && self.path.as_deref().is_none_or(|part| asked.path.contains(part))
            && method.is_none_or(|method| method.eq_ignore_ascii_case(asked.method.as_str()))
            && self.can_show(asked)
    }

    fn can_show(&self, asked: &Struck) -> bool {
        let range = asked.range.and_then(Asked::parse);
        let is_head = asked.method == Method::HEAD;
        let needs_body = self.bandwidth.is_some()
            || self.stall_after.is_some()
            || self.cut_after.is_some()
            || self.corrupt_at.is_some()
            || self.corrupt_all;
        let needs_range = self.ignore_range || self.content_range.is_some() || self.shorten_range.is_some();
        let hits = |offset| range.is_none_or(|range| range.covers(offset));
        let is_moot = (needs_body && is_head) || (needs_range && range.is_none());
        !is_moot && self.corrupt_at.is_none_or(hits)
    }

    /// Counts one matching request; whether this one is struck.
    fn take(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.count {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

/// The request that may be struck.
pub struct Struck<'a> {
    pub target: Target,
    pub method: &'a Method,
    pub path: &'a str,
    pub range: Option<&'a str>,
}

/// Everything that strikes one request.
#[derive(Default)]
pub struct Blow {
    /// The effects, merged; the rest of the rule means nothing here.
    pub effect: Fault,
    pub names: Vec<String>,
}

impl Blow {
    fn add(&mut self, rule: &Fault) {
        let name = rule.name.as_deref().unwrap_or("fault");
        self.names.push(name.to_owned());
        let all = &mut self.effect;
        all.latency_ms = all.latency_ms.or(rule.latency_ms);
        all.disconnect |= rule.disconnect;
        if all.status.is_none() {
            all.status = rule.status;
            all.retry_after = rule.retry_after;
            all.rate_limit = rule.rate_limit.clone();
        }
        all.bandwidth = all.bandwidth.or(rule.bandwidth);
        all.stall_after = all.stall_after.or(rule.stall_after);
        all.cut_after = all.cut_after.or(rule.cut_after);
        all.corrupt_at = all.corrupt_at.or(rule.corrupt_at);
        all.corrupt_all |= rule.corrupt_all;
        all.ignore_range |= rule.ignore_range;
        all.shorten_range = all.shorten_range.or(rule.shorten_range);
        all.content_length = all.content_length.or(rule.content_length);
        if all.content_range.is_none() {
            all.content_range = rule.content_range.clone();
        }
    }
}

/// The rules in force, with the uses each has left.
#[derive(Default)]
pub struct FaultRules {
    rules: Mutex<Faults>,
}

impl FaultRules {
    pub fn set(&self, faults: Faults) {
        *self.rules.lock() = faults;
    }

    pub fn add(&self, rule: Fault) {
        self.rules.lock().rules.push(rule);
    }

    pub fn get(&self) -> Faults {
        self.rules.lock().clone()
    }

    pub fn strike(&self, asked: &Struck) -> Blow {
        let mut blow = Blow::default();
        for rule in &mut self.rules.lock().rules {
            if rule.matches(asked) && rule.take() {
                blow.add(rule);
            }
        }
        blow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &'static str, range: Option<&'static str>) -> Struck<'static> {
        Struck { target: Target::Cdn, method: &Method::GET, path, range }
    }

    #[test]
    fn a_rule_strikes_as_often_as_it_says() {
        let rules = FaultRules::default();
        rules.set(Fault::on(Target::Cdn).path("x").skip(1).times(2).status(503).into());
        let mut struck = (0..5).map(|_| rules.strike(&get("/x", None)).effect.status);
        let expected = [None, Some(503), Some(503), None, None];
        assert!(struck.by_ref().eq(expected));
        assert_eq!(rules.get().rules[0].count, Some(0));
        assert!(rules.strike(&get("/y", None)).names.is_empty());
    }

    #[test]
    fn a_rule_is_not_used_up_where_it_cannot_show() {
        let rules = FaultRules::default();
        rules.add(Fault::new().times(1).corrupt_at(100));
        let head = Struck { method: &Method::HEAD, ..get("/x", None) };
        assert!(rules.strike(&head).names.is_empty());
        assert!(rules.strike(&get("/x", Some("bytes=0-99"))).names.is_empty());
        let blow = rules.strike(&get("/x", Some("bytes=100-")));
        assert_eq!(blow.effect.corrupt_at, Some(100));
    }

    #[test]
    fn of_two_equal_effects_the_earlier_counts() {
        let rules = FaultRules::default();
        rules.add(Fault::new().named("slow").latency_ms(5));
        rules.add(Fault::new().latency_ms(9).bandwidth(10));
        let blow = rules.strike(&get("/x", None));
        assert_eq!(blow.effect.latency_ms, Some(5));
        assert_eq!(blow.effect.bandwidth, Some(10));
        assert_eq!(blow.names, ["slow", "fault"]);
    }
}

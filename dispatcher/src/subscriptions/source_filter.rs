//! The residual test on an event's source (contract §6.5): is the filter a base address of it? Pure.
//!
//! The test is that of .NET's `Uri`: everything after the last slash of the filter's path is ignored, so `https://h/ttd/app`
//! checks scheme, host, port and `/ttd/`; a relative source is resolved against the filter first.

use std::borrow::Cow;

use url::{Position, Url};

/// What a source must begin with to pass the filter; `None` when the filter is no absolute address and nothing passes.
pub(crate) fn prefix(filter: &str) -> Option<String> {
    let url = Url::parse(filter).ok()?;
    let text = &url[..Position::AfterPath];
    let end = text.rfind('/').map_or(text.len(), |at| at + 1);
    text.get(..end).map(str::to_owned)
}

/// An event's source, parsed at most once.
pub(crate) struct Source<'a> {
    text: &'a str,
    absolute: Option<Option<Url>>,
}

impl<'a> Source<'a> {
    /// The source as the event states it.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, absolute: None }
    }

    /// Whether it lies under a filter's [`prefix`].
    pub(crate) fn begins_with(&mut self, prefix: &str) -> bool {
        let text = self.text;
        let absolute = self.absolute.get_or_insert_with(|| Url::parse(text).ok());
        let url = match absolute {
            Some(url) => Cow::Borrowed(url),
            None => match Url::parse(prefix).and_then(|base| base.join(text)) {
                Ok(url) => Cow::Owned(url),
                Err(_) => return false,
            },
        };
        url.as_str().starts_with(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: &str, source: &str, expect: bool) {
        let passes = prefix(filter).is_some_and(|prefix| Source::new(source).begins_with(&prefix));
        assert_eq!(passes, expect, "{filter} ≤ {source}");
    }

    #[test]
    fn a_filter_is_compared_up_to_its_last_slash() {
        let source = "https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/8a";
        check("https://ttd.apps.altinn.no/ttd/apps-test", source, true);
        check("https://ttd.apps.altinn.no/ttd/other", source, true);
        check("https://ttd.apps.altinn.no/ttd/apps-test/", source, true);
        check("https://ttd.apps.altinn.no/ttd/other/", source, false);
        check("https://ttd.apps.altinn.no", source, true);
        check("https://ttd.apps.altinn.no/ttd/apps-test?x=/y/", source, true);
    }

    #[test]
    fn scheme_host_and_port_must_be_the_same() {
        check("http://h/a/", "https://h/a/b", false);
        check("https://h/a/", "https://g/a/b", false);
        check("https://h:8443/a/", "https://h/a/b", false);
        check("https://H:443/a/", "https://h/a/b", true);
        check("https://h/A/", "https://h/a/b", false);
    }

    #[test]
    fn a_relative_source_is_resolved_against_the_filter() {
        check("https://h/ttd/app", "/ttd/app/1", true);
        check("https://h/ttd/app", "/other/app/1", false);
        check("https://h/ttd/app", "app/1", true);
    }

    #[test]
    fn a_filter_that_is_no_address_passes_nothing() {
        check("ttd/app", "ttd/app", false);
        check("", "https://h/", false);
    }
}

//! May this publisher publish these events? No answer is not a no: it is 503 (guarantee 6).

use access::{Access, Caller, Decision, question, scope};
use event::{
    Event,
    resource::{self, AppsDomain},
};

use crate::error::Refusal;

/// Asks about the events that `is_exempt` does not settle. One no refuses the whole request.
pub(crate) async fn check(
    access: &Access,
    caller: &Caller,
    events: &[Event],
    is_exempt: impl Fn(&Event) -> bool,
) -> Result<(), Refusal> {
    if caller.has_scope(scope::PUBLISH_ADMIN) {
        return Ok(());
    }
    let asked: Vec<(usize, &Event)> =
        events.iter().enumerate().filter(|(_, event)| !is_exempt(event)).collect();
    let questions = asked.iter().map(|(_, event)| question::publish(caller, event)).collect();
    let decisions = access.decide(questions).await;
    let places = |wanted: Decision| {
        let pairs = asked.iter().zip(&decisions);
        pairs.filter(|(_, decision)| **decision == wanted).map(|((index, _), _)| *index).collect::<Vec<_>>()
    };
    let refused = places(Decision::Refuse);
    if !refused.is_empty() {
        return Err(if events.len() == 1 { Refusal::Forbidden } else { Refusal::ForbiddenItems(refused) });
    }
    // Every question must have its permit, whatever came back.
    if places(Decision::Permit).len() == asked.len() { Ok(()) } else { Err(Refusal::RightsUnknown) }
}

/// Whether a source belongs to the app that called: whole segments of the path, and a host of the apps (contract §1.3).
pub(crate) fn is_source_of(caller: &Caller, source: &str, apps_domain: &AppsDomain) -> bool {
    let Some(platform) = &caller.platform else { return false };
    let named = resource::parse_app_source(source)
        .is_some_and(|app| app.org == *platform.issuer && app.app == *platform.app);
    named && apps_domain.holds(source)
}

/// Whether the event is the calling app's own: it then needs no decision, as on the app path (contract §2.5).
pub(crate) fn is_own_event(caller: &Caller, event: &Event, apps_domain: &AppsDomain) -> bool {
    let of_resource = |app: resource::AppSource| event.resource() == resource::app(&app.org, &app.app);
    is_source_of(caller, event.source(), apps_domain)
        && resource::parse_app_source(event.source()).is_some_and(of_resource)
}

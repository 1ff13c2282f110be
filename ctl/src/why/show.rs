//! The answer as text and as JSON.

use super::judge::{Answer, ListStep, RuleStep, Side, TierStep};
use super::name;
use felix_render::evaluate::Packet;
use felix_render::form::{Direction, Origin, Verdict};
use serde_json::{Value, json};

pub(super) fn text(answer: &Answer) -> String {
    let mut lines = vec![
        format!("from  {}", answer.from.title()),
        format!("to    {}", answer.to.title()),
        format!("      {}", packet(&answer.packet)),
    ];
    for side in &answer.sides {
        lines.push(String::new());
        lines.push(heading(side));
        side.tiers.iter().for_each(|step| tier(step, &mut lines));
        side.profiles.iter().for_each(|step| list(step, 1, &mut lines));
        if side.profiles.is_empty() && matches!(side.decision.path.last(), Some((Origin::NoProfile, _))) {
            lines.push("  it has no profiles".to_owned());
        }
    }
    lines.push(String::new());
    lines.push(format!("{}: {}", verdict_of(answer), answer.reason));
    if let Some(rule) = &answer.rule {
        lines.push(format!("  {rule}"));
    }
    lines.extend(answer.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n") + "\n"
}

fn heading(side: &Side) -> String {
    let verb = match side.direction {
        Direction::Egress => "leaves",
        Direction::Ingress => "enters",
    };
    format!("It {verb} {}, node {}:", side.title, side.node)
}

fn packet(packet: &Packet) -> String {
    let protocol = name(packet.protocol);
    let what = match (packet.ports, packet.icmp) {
        (Some((source, destination)), _) => format!("{protocol} from port {source} to port {destination}"),
        (None, Some((kind, code))) => format!("{protocol} type {kind} code {code}"),
        (None, None) => format!("protocol {protocol}"),
    };
    format!("{what}, {} → {}", packet.source, packet.destination)
}

fn tier(step: &TierStep, lines: &mut Vec<String>) {
    lines.push(format!("  tier {}", step.name));
    step.policies.iter().for_each(|policy| list(policy, 2, lines));
    if let Some(end) = step.end {
        lines.push(format!("    end of the tier: {}", word(end)));
    }
}

fn list(step: &ListStep, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match step.skipped {
        Some(reason) => lines.push(format!("{indent}{}: {reason}", step.title)),
        None if step.rules.is_empty() => lines.push(format!("{indent}{}: no rules", step.title)),
        None => {
            lines.push(format!("{indent}{}", step.title));
            step.rules.iter().for_each(|one| lines.push(format!("{indent}  {}", rule(one))));
        }
    }
}

fn rule(step: &RuleStep) -> String {
    let what = step.verdict.map_or("does not match", word);
    match step.unenforced {
        Some(field) => format!("rule {}: {what} ({field} is not enforced)", step.index),
        None => format!("rule {}: {what}", step.index),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "Allow",
        Verdict::Deny => "Deny",
        Verdict::Pass => "Pass",
        Verdict::Log => "Log",
    }
}

fn verdict_of(answer: &Answer) -> &'static str {
    if answer.allowed { "ALLOWED" } else { "DENIED" }
}

pub(super) fn json(answer: &Answer) -> Value {
    json!({
        "from": answer.from.title(),
        "to": answer.to.title(),
        "packet": {
            "source": answer.packet.source,
            "destination": answer.packet.destination,
            "protocol": answer.packet.protocol,
            "sourcePort": answer.packet.ports.map(|(source, _)| source),
            "destinationPort": answer.packet.ports.map(|(_, destination)| destination),
            "icmpType": answer.packet.icmp.map(|(kind, _)| kind),
            "icmpCode": answer.packet.icmp.map(|(_, code)| code),
        },
        "ends": answer.sides.iter().map(side_json).collect::<Vec<_>>(),
        "verdict": if answer.allowed { "Allow" } else { "Deny" },
        "reason": answer.reason,
        "rule": answer.rule,
        "notes": answer.notes,
    })
}

fn side_json(side: &Side) -> Value {
    let tier = |step: &TierStep| {
        json!({
            "tier": step.name,
            "policies": step.policies.iter().map(list_json).collect::<Vec<_>>(),
            "end": step.end.map(word),
        })
    };
    json!({
        "endpoint": side.title,
        "node": side.node,
        "direction": side.direction.to_string(),
        "tiers": side.tiers.iter().map(tier).collect::<Vec<_>>(),
        "profiles": side.profiles.iter().map(list_json).collect::<Vec<_>>(),
        "verdict": word(side.decision.verdict),
    })
}

fn list_json(step: &ListStep) -> Value {
    let rule = |rule: &RuleStep| json!({"rule": rule.index, "verdict": rule.verdict.map(word), "notEnforced": rule.unenforced});
    json!({
        "resource": step.title,
        "skipped": step.skipped,
        "rules": step.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

//! From OpenMetrics to the text format of Prometheus, version 0.0.4.

/// Converts OpenMetrics text. In the older format a counter's family has the name of its samples, and
/// the lines for units and the end are absent.
pub(in crate::net::server) fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if line.starts_with("# HELP ") {
            help = line; // the line with the type comes next
        } else if let Some(family) = line.strip_prefix("# TYPE ") {
            text.push_str(&head(help, family));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The two lines before a family's samples.
fn head(help: &str, family: &str) -> String {
    let (name, kind) = family.rsplit_once(' ').unwrap_or((family, "unknown"));
    let (suffix, kind) = match kind {
        "counter" => ("_total", kind),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        _ => ("", kind),
    };
    let words = help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name));
    let words = words.unwrap_or_default();
    format!("# HELP {name}{suffix}{words}\n# TYPE {name}{suffix} {kind}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_the_names_of_their_samples() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total 1.5\n# HELP b Built.\n# TYPE b info\nb_info{v=\"# x\"} 1\n\
                    # HELP c Size.\n# TYPE c gauge\nc 2\n# EOF\n";
        let expected = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\n\
                        a_seconds_total 1.5\n# HELP b_info Built.\n# TYPE b_info gauge\n\
                        b_info{v=\"# x\"} 1\n# HELP c Size.\n# TYPE c gauge\nc 2\n";
        assert_eq!(prometheus_text(open), expected);
    }
}

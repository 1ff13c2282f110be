//! Floating-point numbers as Go prints them where nothing else is asked for.

/// From this decimal exponent on Go writes the shortest form with an exponent.
const EXPONENT_FROM: i32 = 6;
/// Below this decimal exponent too.
const EXPONENT_BELOW: i32 = -4;

/// The shortest digits that read back the same, as Go's `%v` and `strconv` format `g`: `10`, `2.5`, `1e+06`.
/// What is not a number or not finite never comes from JSON; it prints as Go's `NaN`, `+Inf`, `-Inf`.
pub fn go_float(value: f64) -> String {
    if !value.is_finite() {
        return match value {
            _ if value.is_nan() => "NaN",
            _ if value > 0.0 => "+Inf",
            _ => "-Inf",
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (EXPONENT_BELOW..EXPONENT_FROM).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::go_float;

    #[test]
    fn as_go_prints() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (2.5, "2.5"),
            (-10.0, "-10"),
            (1000.0, "1000"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (10_000_000.0, "1e+07"),
            (1_234_567.5, "1.2345675e+06"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(go_float(value), text);
        }
    }
}

//! Floats for serde: numbers as numbers, and the three values that JSON has
//! no number for as words, lest they become `null`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A float as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<T> {
    Number(T),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
enum Word {
    NaN,
    Infinity,
    #[serde(rename = "-Infinity")]
    NegInfinity,
}

pub(super) fn serialize<T, S>(float: &T, to: S) -> Result<S::Ok, S::Error>
where
    T: Copy + Into<f64> + Serialize,
    S: Serializer,
{
    let wide: f64 = (*float).into();
    let written = match wide {
        _ if wide.is_nan() => Written::Word(Word::NaN),
        f64::INFINITY => Written::Word(Word::Infinity),
        f64::NEG_INFINITY => Written::Word(Word::NegInfinity),
        _ => Written::Number(*float),
    };
    written.serialize(to)
}

pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    // Each of the three is the same in 32 bits, which every float comes from.
    T: From<f32> + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(match Written::<T>::deserialize(from)? {
        Written::Number(number) => number,
        Written::Word(Word::NaN) => f32::NAN.into(),
        Written::Word(Word::Infinity) => f32::INFINITY.into(),
        Written::Word(Word::NegInfinity) => f32::NEG_INFINITY.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::change::Value;

    proptest! {
        #[test]
        fn every_float_comes_back_to_the_bit(wide: f64, narrow: f32) {
            for value in [Value::Float64(wide), Value::Float32(narrow)] {
                let text = serde_json::to_string(&value).unwrap();
                prop_assert_eq!(serde_json::from_str::<Value<'_>>(&text).unwrap(), value, "{}", text);
            }
        }
    }

    #[test]
    fn what_json_has_no_number_for_is_a_word() {
        for (float, text) in [
            (f64::NAN, r#"{"float64":"NaN"}"#),
            (f64::INFINITY, r#"{"float64":"Infinity"}"#),
            (f64::NEG_INFINITY, r#"{"float64":"-Infinity"}"#),
            (-0.0, r#"{"float64":-0.0}"#),
        ] {
            assert_eq!(serde_json::to_string(&Value::Float64(float)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Value<'_>>(text).unwrap(), Value::Float64(float));
        }
    }
}

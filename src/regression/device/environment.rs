//! The environment variables by which wgpu's tools select an adapter: `WGPU_BACKEND` and `WGPU_ADAPTER_NAME`.

use super::OpenError;
use std::ffi::OsString;
use wgpu::{Backend, Backends, Instance};

const BACKEND: &str = "WGPU_BACKEND";
const ADAPTER_NAME: &str = "WGPU_ADAPTER_NAME";

/// The adapter selection of the environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    backend: Option<(String, Backends)>,
    adapter_name: Option<String>,
}

impl Environment {
    /// Reads the environment. Empty variables count as unset.
    ///
    /// # Errors
    /// [`OpenError::Environment`], naming a word in `WGPU_BACKEND` that is not a backend.
    pub fn read() -> Result<Self, OpenError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, OpenError> {
        let value = |name| {
            let value = variable(name)?.to_string_lossy().into_owned();
            (!value.trim_matches([' ', ',']).is_empty()).then_some(value)
        };
        let backend = value(BACKEND)
            .map(|value| match parse_backends(&value) {
                Ok(backends) => Ok((value, backends)),
                Err(word) => {
                    let why = format!(
                        "`{word}` is not a backend (use vulkan, metal, dx12 or gl, or several separated by commas)"
                    );
                    Err(OpenError::Environment { variable: BACKEND, value, why })
                }
            })
            .transpose()?;
        Ok(Environment { backend, adapter_name: value(ADAPTER_NAME) })
    }

    /// Returns the permitted backends.
    pub fn backends(&self) -> Backends {
        self.backend.as_ref().map_or(Backends::all(), |(_, backends)| *backends)
    }

    /// Returns the part of an adapter name that applies if no argument selects an adapter.
    pub fn adapter_name(&self) -> Option<&str> {
        self.adapter_name.as_deref()
    }

    /// Whether an adapter's name contains that part, ignoring case as wgpu does.
    pub fn allows(&self, name: &str) -> bool {
        let contains = |part: &str| name.to_lowercase().contains(&part.to_lowercase());
        self.adapter_name().is_none_or(contains)
    }

    /// Returns the error for a `WGPU_BACKEND` that leaves no adapter.
    pub fn no_backend(&self) -> Option<OpenError> {
        let (value, _) = self.backend.as_ref()?;
        let known = names(Instance::enabled_backend_features() & (Backends::PRIMARY | Backends::GL));
        let why = format!(
            "this machine has no adapter of that backend; this program supports {known} on this system"
        );
        Some(OpenError::Environment { variable: BACKEND, value: value.clone(), why })
    }

    /// Returns the error for a `WGPU_ADAPTER_NAME` without an adapter; `there` describes the adapters.
    pub fn no_name(&self, there: &str) -> Option<OpenError> {
        let value = self.adapter_name.clone()?;
        let why = format!("no GPU adapter has a name that contains it; there {there}");
        Some(OpenError::Environment { variable: ADAPTER_NAME, value, why })
    }

    /// Returns a remark for lists of adapters if the environment restricts them.
    pub fn restriction(&self) -> Option<String> {
        self.backend.as_ref().map(|(value, _)| format!("{BACKEND} is `{value}`"))
    }
}

/// Parses a list of backends with wgpu's names. The error is the first unknown word.
fn parse_backends(list: &str) -> Result<Backends, String> {
    let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.into_iter().try_fold(Backends::empty(), |backends, word| {
        let one = match word.to_lowercase().as_str() {
            "vulkan" | "vk" => Backends::VULKAN,
            "metal" | "mtl" => Backends::METAL,
            "dx12" | "d3d12" => Backends::DX12,
            "gl" | "gles" | "opengl" => Backends::GL,
            "webgpu" => Backends::BROWSER_WEBGPU,
            "noop" => Backends::NOOP,
            _ => return Err(word.to_string()),
        };
        Ok(backends | one)
    })
}

fn names(backends: Backends) -> String {
    let names = Backend::ALL.iter().filter(|&&backend| backends.contains(Backends::from(backend)));
    let names: Vec<&str> = names.map(|backend| backend.to_str()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(backend: &str, name: &str) -> Result<Environment, OpenError> {
        Environment::from_variables(|variable| match variable {
            BACKEND => Some(backend.into()),
            ADAPTER_NAME => Some(name.into()),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn backends_have_wgpus_words() {
        for list in
            ["vulkan", "vk", "Metal,GL", " gl , dx12 ", "d3d12,mtl", "opengl,gles", "webgpu", "noop"]
        {
            let ours = environment(list, "").unwrap().backends();
            assert_eq!(ours, Backends::from_comma_list(list), "{list}");
        }
        for unset in ["", " ", ","] {
            let environment = environment(unset, unset).unwrap();
            assert_eq!(
                (environment.backends(), environment.adapter_name()),
                (Backends::all(), None),
                "`{unset}`"
            );
        }
    }

    #[test]
    fn a_word_that_is_no_backend_is_named() {
        for (list, word) in
            [("vulcan", "vulcan"), ("vulkan, foo", "foo"), ("auto", "auto"), ("gl metal", "gl metal")]
        {
            let message = environment(list, "").unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("WGPU_BACKEND is `{list}`: `{word}` is not a backend")),
                "{message}"
            );
        }
    }

    #[test]
    fn without_variables_everything_may_be_used() {
        let environment = Environment::from_variables(|_| None).unwrap();
        assert_eq!((environment.backends(), environment.adapter_name()), (Backends::all(), None));
        assert!(environment.no_backend().is_none() && environment.no_name("").is_none());
        assert_eq!(environment.restriction(), None);
    }
}

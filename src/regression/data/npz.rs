//! NumPy's .npz: a zip archive of .npy files.

use super::DataError;
use super::input::Input;
use super::npy::Npy;
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

/// Names of features and targets in an archive with both.
const X: [&str; 4] = ["X", "x", "data", "arr_0"];
const Y: [&str; 4] = ["y", "Y", "target", "arr_1"];

/// Opens the arrays X and y of an archive, or its only array.
pub fn open(input: &Input) -> Result<Npy, DataError> {
    let path = input.path();
    let failed = |error: ZipError| match error {
        ZipError::Io(error) => DataError::file(path, error),
        error => DataError::format(path, format!("is not a valid .npz file: {error}")),
    };
    let mut archive = ZipArchive::new(input.reader()).map_err(failed)?;
    let names: Vec<String> = archive
        .file_names()
        .map(|name| Ok(name?.into_owned()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let arrays: Vec<String> =
        names.iter().filter_map(|name| name.strip_suffix(".npy")).map(String::from).collect();
    let find = |names: &[&str]| arrays.iter().find(|name| names.contains(&name.as_str()));
    let (x, y) = match (find(&X), find(&Y), &arrays[..]) {
        (_, _, [only]) => (only, None),
        (Some(x), Some(y), _) => (x, Some(y)),
        _ => {
            let found = match &arrays[..] {
                [] => "none".into(),
                names => names.join(", "),
            };
            let reason = format!("must have one array, or the arrays X and y, but has {found}");
            return Err(DataError::format(path, reason));
        }
    };
    let mut member = |name: &str| -> Result<Input, DataError> {
        let member = archive.by_name(&format!("{name}.npy")).map_err(failed)?;
        Input::spooled(&named(path, name), member)
    };
    let (x, y) = (member(x)?, y.map(|y| member(y)).transpose()?);
    // After its arrays were copied.
    input.check_unchanged()?;
    Npy::open(x, y)
}

/// The name of an archive's array in messages.
fn named(archive: &Path, array: &str) -> std::path::PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(format!(":{array}"));
    name.into()
}

//! Bindings, overrides and structs of a kernel, from parsing its source, so that they cannot drift from it.

use super::words;
use serde::Serialize;
use std::collections::BTreeMap;
use wgpu_optim::gpu::shader::Composed;
use wgpu_optim::wgpu::naga::valid::{ModuleInfo, Validator};
use wgpu_optim::wgpu::naga::{
    AddressSpace, ArraySize, Expression, Handle, Literal, Module, Scalar, ScalarKind, StorageAccess,
    Type, TypeInner, front,
};

/// A kernel's file.
#[derive(Serialize)]
pub struct Kernel {
    pub file: String,
    /// For a rule's kernel, the moments by plane, including those of all variants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moments: Option<&'static [&'static str]>,
    entry_points: Vec<EntryPoint>,
    bindings: Vec<Binding>,
    overrides: Vec<Override>,
    structs: BTreeMap<String, Struct>,
}

#[derive(Serialize)]
struct EntryPoint {
    name: String,
    does: &'static str,
    /// Numbers or names of overrides.
    workgroup_size: [serde_json::Value; 3],
    workgroups: &'static str,
}

#[derive(Serialize)]
struct Binding {
    group: u32,
    binding: u32,
    name: String,
    /// `uniform`, `read-only-storage` or `storage`, WebGPU's names.
    buffer: &'static str,
    #[serde(rename = "type")]
    kind: String,
    meaning: &'static str,
    used_by: Vec<String>,
}

#[derive(Serialize)]
struct Override {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    default: serde_json::Value,
    meaning: &'static str,
}

#[derive(Serialize)]
struct Struct {
    size: u32,
    fields: Vec<Field>,
}

#[derive(Serialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    offset: u32,
    size: u32,
    /// The comment in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
}

/// A parsed and validated source.
struct Parsed<'a> {
    source: &'a str,
    module: Module,
    info: ModuleInfo,
}

impl Kernel {
    pub fn new(composed: &Composed) -> Result<Self, String> {
        let (name, source) = (&composed.name, composed.module.source());
        let parsed = Parsed::new(&source)?;
        Ok(Kernel {
            file: format!("{name}.wgsl"),
            moments: composed.moments,
            entry_points: parsed.entry_points(name),
            bindings: parsed.bindings(name),
            overrides: parsed.overrides(),
            structs: parsed.structs(),
        })
    }
}

impl<'a> Parsed<'a> {
    fn new(source: &'a str) -> Result<Self, String> {
        let module = front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
        let mut validator = Validator::new(Default::default(), Default::default());
        let info = validator.validate(&module).map_err(|e| e.emit_to_string(source))?;
        Ok(Parsed { source, module, info })
    }

    fn entry_points(&self, file: &str) -> Vec<EntryPoint> {
        let entry = |entry: &wgpu_optim::wgpu::naga::EntryPoint| {
            let (does, workgroups) = words::entry_point(file, &entry.name);
            let size = |i: usize| {
                let given = entry.workgroup_size_overrides.and_then(|overrides| overrides[i]);
                match given.map(|handle| &self.module.global_expressions[handle]) {
                    Some(Expression::Override(handle)) => {
                        self.module.overrides[*handle].name.clone().into()
                    }
                    _ => entry.workgroup_size[i].into(),
                }
            };
            EntryPoint {
                name: entry.name.clone(),
                does,
                workgroup_size: [0, 1, 2].map(size),
                workgroups,
            }
        };
        self.module.entry_points.iter().map(entry).collect()
    }

    fn bindings(&self, file: &str) -> Vec<Binding> {
        let mut bindings = Vec::new();
        for (handle, variable) in self.module.global_variables.iter() {
            let Some(at) = &variable.binding else { continue };
            let buffer = match variable.space {
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => "storage",
                AddressSpace::Storage { .. } => "read-only-storage",
                _ => "uniform",
            };
            let entries = self.module.entry_points.iter().enumerate();
            let users = entries.filter(|(i, _)| !self.info.get_entry_point(*i)[handle].is_empty());
            let name = variable.name.clone().unwrap_or_default();
            bindings.push(Binding {
                group: at.group,
                binding: at.binding,
                buffer,
                kind: self.type_name(variable.ty),
                meaning: words::binding(file, &name),
                used_by: users.map(|(_, entry)| entry.name.clone()).collect(),
                name,
            });
        }
        bindings.sort_by_key(|binding| (binding.group, binding.binding));
        bindings
    }

    fn overrides(&self) -> Vec<Override> {
        let over_ride = |(_, of): (_, &wgpu_optim::wgpu::naga::Override)| {
            let default = of.init.map(|init| match self.module.global_expressions[init] {
                Expression::Literal(Literal::Bool(value)) => value.into(),
                Expression::Literal(Literal::U32(value)) => value.into(),
                Expression::Literal(Literal::I32(value)) => value.into(),
                Expression::Literal(Literal::F32(value)) => f64::from(value).into(),
                _ => serde_json::Value::Null,
            });
            let name = of.name.clone().unwrap_or_default();
            let (kind, meaning) = (self.type_name(of.ty), words::over_ride(&name));
            Override { name, kind, default: default.unwrap_or_default(), meaning }
        };
        self.module.overrides.iter().map(over_ride).collect()
    }

    /// The structs in buffers.
    fn structs(&self) -> BTreeMap<String, Struct> {
        let mut structs = BTreeMap::new();
        for (_, variable) in self.module.global_variables.iter() {
            if variable.binding.is_some() {
                self.add_structs(variable.ty, &mut structs);
            }
        }
        structs
    }

    fn add_structs(&self, handle: Handle<Type>, structs: &mut BTreeMap<String, Struct>) {
        match &self.module.types[handle].inner {
            TypeInner::Array { base, .. } => self.add_structs(*base, structs),
            TypeInner::Struct { members, span } => {
                let name = self.type_name(handle);
                let field = |member: &wgpu_optim::wgpu::naga::StructMember| {
                    self.add_structs(member.ty, structs);
                    let field = member.name.clone().unwrap_or_default();
                    let inner = &self.module.types[member.ty].inner;
                    Field {
                        kind: self.type_name(member.ty),
                        offset: member.offset,
                        size: inner.size(self.module.to_ctx()),
                        meaning: comment(self.source, &name, &field),
                        name: field,
                    }
                };
                let fields = members.iter().map(field).collect();
                structs.insert(name, Struct { size: *span, fields });
            }
            _ => {}
        }
    }

    fn type_name(&self, handle: Handle<Type>) -> String {
        let of = &self.module.types[handle];
        match &of.inner {
            TypeInner::Scalar(scalar) => scalar_name(*scalar).into(),
            TypeInner::Vector { size, scalar } => {
                format!("vec{}<{}>", *size as u8, scalar_name(*scalar))
            }
            TypeInner::Array { base, size: ArraySize::Constant(size), .. } => {
                format!("array<{}, {size}>", self.type_name(*base))
            }
            TypeInner::Array { base, .. } => format!("array<{}>", self.type_name(*base)),
            _ => of.name.clone().unwrap_or_default(),
        }
    }
}

fn scalar_name(scalar: Scalar) -> &'static str {
    match scalar.kind {
        ScalarKind::Bool => "bool",
        ScalarKind::Sint => "i32",
        ScalarKind::Uint => "u32",
        _ => "f32",
    }
}

/// The comment after a field of a struct.
fn comment(source: &str, of: &str, field: &str) -> Option<String> {
    let (_, body) = source.split_once(&format!("struct {of} {{\n"))?;
    let lines = body.lines().take_while(|line| !line.starts_with('}'));
    let code = |line: &str| line.trim_start().starts_with(&format!("{field}:"));
    let (_, comment) = lines.into_iter().find(|line| code(line))?.split_once("//")?;
    Some(comment.trim().into())
}

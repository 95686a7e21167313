//! Recording a step does not allocate and does not start threads. No GPU is needed.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use wgpu::{BufferUsages, ComputePass, Device, DeviceDescriptor, Queue};
use wgpu_optim::gpu::{Arena, Selection};
use wgpu_optim::{Adam, ClipNorm, Conditioning, Optimizer, Sgd, Span};

/// An allocator that counts the allocations of this thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The number of allocations of `f`.
fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

/// The number of allocations while commands are recorded into a pass.
fn recording(device: &Device, record: impl FnOnce(&mut ComputePass)) -> usize {
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    allocations(|| record(&mut pass))
}

/// A device with its queue, which must outlive the recorded commands.
fn device() -> (Device, Queue) {
    Device::noop(&DeviceDescriptor::default())
}

fn span(device: &Device, len: u64) -> Span {
    let usage = BufferUsages::STORAGE;
    let descriptor =
        wgpu::BufferDescriptor { label: None, size: len * 4, usage, mapped_at_creation: false };
    Span::whole(&device.create_buffer(&descriptor))
}

/// The number of allocations for at least as many manual commands as an optimizer records. wgpu skips redundant state
/// changes, so the commands alternate.
fn by_hand(device: &Device, dispatches: usize, selections: usize, steps: usize) -> usize {
    let source = wgpu::ShaderSource::Wgsl("@compute @workgroup_size(1) fn main() {}".into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let entries = wgpu::BindGroupLayoutDescriptor { label: None, entries: &[] };
    let layout = device.create_bind_group_layout(&entries);
    let group = || {
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &[] };
        device.create_bind_group(&descriptor)
    };
    let pipeline = || {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        })
    };
    let (groups, pipelines) = ([group(), group()], [pipeline(), pipeline()]);
    recording(device, |pass| {
        for step in 0..steps {
            for selection in 0..selections {
                pass.set_bind_group(1, &groups[(step * selections + selection) % 2], &[]);
            }
            for i in step * dispatches..(step + 1) * dispatches {
                pass.set_pipeline(&pipelines[i % 2]);
                pass.set_bind_group(0, &groups[i % 2], &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
        }
    })
}

#[test]
fn a_step_allocates_nothing() {
    let (device, _queue) = device();
    let all = Conditioning {
        clip_norm: Some(ClipNorm::Torch(1.0)),
        skip_nonfinite: true,
        ..Conditioning::default()
    };
    let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let shapes = names.iter().map(|name| (name.as_str(), [7u64].as_slice()));
    let arena = Arena::new(&device, BufferUsages::empty(), shapes).unwrap();
    let build = |conditioning: Conditioning, micro_batches, packed: bool| {
        let mut builder = Optimizer::new(&device, Adam::default());
        for len in [3, 4, 261] {
            builder = builder.tensor(span(&device, len), span(&device, len));
        }
        builder = if packed { builder.group(Sgd::default()).arena(&arena) } else { builder };
        builder.conditioning(conditioning).accumulate(micro_batches).build().unwrap()
    };
    let measure = |optimizer: &Optimizer, selection: Option<&Selection>, steps: usize| {
        recording(&device, |pass| {
            for _ in 0..steps {
                match selection {
                    Some(selection) => optimizer.record_selected(pass, selection),
                    None => optimizer.record(pass),
                }
            }
        })
    };
    for (conditioning, selections) in [(Conditioning::default(), 1), (all, 2)] {
        for (micro_batches, packed) in [(1, false), (1, true), (3, true)] {
            let optimizer = build(conditioning, micro_batches, packed);
            let selection = optimizer.selection(&device, |_| true);
            for steps in [1, 10, 100, 1000] {
                // wgpu's list of commands grows in any case.
                let wgpus = by_hand(&device, optimizer.dispatches(), selections, steps);
                for selection in [None, Some(&selection)] {
                    let ours = measure(&optimizer, selection, steps);
                    assert!(ours <= wgpus, "{ours} for {wgpus} by hand in {steps} steps");
                }
            }
        }
    }
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| drop(std::hint::black_box(String::with_capacity(9)))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn a_step_of_a_frozen_set_records_less() {
    let (device, _queue) = device();
    let optimizer = Optimizer::new(&device, Adam::default())
        .tensor(span(&device, 8), span(&device, 8))
        .tensor(span(&device, 8), span(&device, 8))
        .build()
        .unwrap();
    assert_eq!(optimizer.dispatches(), 3);
    // Unselected tensors cost no dispatch.
    let none = optimizer.selection(&device, |_| false);
    let many = recording(&device, |pass| (0..1000).for_each(|_| optimizer.record(pass)));
    let few = recording(&device, |pass| (0..1000).for_each(|_| optimizer.record_selected(pass, &none)));
    assert!(few < many, "{few} and {many}");
}

#[test]
fn everything_can_be_sent_to_another_thread() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Optimizer>();
    assert_send_sync::<Selection>();
    assert_send_sync::<Arena>();
    assert_send_sync::<Span>();
    assert_send_sync::<wgpu_optim::gpu::ReadBack>();
    #[cfg(feature = "regression")]
    {
        use wgpu_optim::regression::kernels::{Descent, Evaluator, Gradient};
        assert_send_sync::<(Gradient, Descent, Evaluator)>();
    }
    assert_send_sync::<wgpu_optim::Error>();
    let (device, _queue) = device();
    let optimizer =
        Optimizer::new(&device, Adam::default()).tensor(span(&device, 8), span(&device, 8)).build();
    let optimizer = optimizer.unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| recording(&device, |pass| optimizer.record(pass)));
        }
    });
}

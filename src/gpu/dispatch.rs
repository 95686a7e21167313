pub(crate) use crate::wgsl::flag;
use wgpu::{BindGroup, ComputePass, ComputePipeline};

/// A dispatch with its pipeline and first bind group.
#[derive(Debug)]
pub struct Dispatch {
    pub pipeline: ComputePipeline,
    pub bindings: BindGroup,
    pub grid: [u32; 3],
}

impl Dispatch {
    pub fn record(&self, pass: &mut ComputePass) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

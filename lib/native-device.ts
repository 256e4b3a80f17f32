/** What is told to the addon of devices, and by it. */

/** Where a model runs; all but `index` is for devices only. */
export interface NativeDevice {
  /** −1 = the CPU, else the number of a GPU. */
  readonly index: number;
  /** Of activations: native.ts's DTYPES.BF16 or DTYPES.F16. */
  readonly dtype: number;
  /** auto: as the activations. fp8 on a GPU only, float32 to bfloat16 on the CPU only. */
  readonly kvCacheDtype: 'auto' | 'float32' | 'float16' | 'bfloat16' | 'fp8' | 'int8';
  readonly memoryUtilization: number;
  /** The pool never gets more blocks than this when it is measured. */
  readonly maxNumBlocks: number;
  readonly graphs: boolean;
  readonly sharePrefixes: boolean;
  readonly batchInvariant: boolean;
}

export interface DeviceProbe {
  /** What this addon was built with; `simt` is the emulator of the test addon. */
  readonly kind: 'cuda' | 'simt' | 'none';
  /** Why `devices` is empty. */
  readonly reason: string;
  readonly devices: readonly { name: string; major: number; minor: number; memory: number }[];
}

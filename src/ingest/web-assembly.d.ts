/** What is used of https://webassembly.github.io/spec/js-api/: Node has it, its types do not. */
declare namespace WebAssembly {
  const Module: new (bytes: Uint8Array) => object;
  const Instance: new (module: object) => { readonly exports: WindowExports };

  /** Of `kernel/windows.ts`, the only module there is. It says what each does, and how its memory is laid out. */
  interface WindowExports {
    readonly memory: { readonly buffer: ArrayBuffer };
    begin(windows: number, messageBytes: number, afterSeconds: number, beforeSeconds: number): number;
    /** 0: false. */
    addWire(start: number, end: number): number;
    addParsed(): void;
    dropLast(): void;
    hashParsed(textBytes: number): void;
    close(): void;
  }
}

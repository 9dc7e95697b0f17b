// An audio worklet that passes on what the microphone hears, mono, in blocks.

const BLOCK = 512; // samples: 11 ms at 48 kHz

registerProcessor('ear', class extends AudioWorkletProcessor {
  constructor() { super(); this.block = new Float32Array(BLOCK); this.filled = 0; }

  process([channels]) {
    const length = channels.length ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      this.block[this.filled++] = channels.reduce((sum, c) => sum + c[i], 0) / channels.length;
      if (this.filled === BLOCK) { this.port.postMessage(this.block.slice()); this.filled = 0; }
    }
    return true;
  }
});

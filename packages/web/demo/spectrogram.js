// A spectrogram that runs from right to left on a canvas.

const SECONDS = 16;
const TO_HZ = 16000;
const FROM_DB = -100;
const TO_DB = -20;

/** Black, violet, red, yellow, white. @param {number} level from 0 to 255 */
function color(level) {
  const x = level / 255;
  const red = Math.min(1, 2.4 * x);
  const green = Math.max(0, Math.min(1, 2.2 * x - 0.9));
  const blue = x < 0.5 ? Math.sin(Math.PI * x * 2) * 0.6 : Math.max(0, 3 * x - 2);
  return [255 * red, 255 * green, 255 * blue, 255];
}
const COLORS = Array.from({ length: 256 }, (_, level) => color(level));

export class Spectrogram {
  /** @param {HTMLCanvasElement} canvas @param {AudioNode} source */
  constructor(canvas, source) {
    this.analyser = new AnalyserNode(source.context, {
      fftSize: 1024,
      smoothingTimeConstant: 0,
      minDecibels: FROM_DB,
      maxDecibels: TO_DB,
    });
    source.connect(this.analyser);
    const bins = Math.ceil((this.analyser.fftSize * TO_HZ) / source.context.sampleRate);
    this.levels = new Uint8Array(Math.min(bins, this.analyser.frequencyBinCount));
    this.drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.column = this.drawing.createImageData(1, canvas.height);
    this.drawn = source.context.currentTime;
  }

  /** Draws what came since the last call. */
  draw() {
    const { canvas } = this.drawing;
    const now = this.analyser.context.currentTime;
    const columns = Math.min(canvas.width, Math.floor(((now - this.drawn) * canvas.width) / SECONDS));
    if (columns < 1) return;
    this.drawn += (columns * SECONDS) / canvas.width;
    this.analyser.getByteFrequencyData(this.levels);
    this.drawing.drawImage(canvas, -columns, 0);
    for (let y = 0; y < canvas.height; ++y) {
      const bin = Math.floor(((canvas.height - 1 - y) * this.levels.length) / canvas.height);
      this.column.data.set(COLORS[this.levels[bin]], 4 * y);
    }
    for (let i = 1; i <= columns; ++i) this.drawing.putImageData(this.column, canvas.width - i, 0);
  }

  close() {
    this.analyser.disconnect();
  }
}

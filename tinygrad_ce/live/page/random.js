// NumPy's default_rng, number for number: SeedSequence and PCG64 (M. O'Neill, 2014); and the initial weights of nn.init.

const LOW_32 = 0xffffffffn, LOW_64 = (1n << 64n) - 1n, LOW_128 = (1n << 128n) - 1n;

// numpy.random.SeedSequence(seed).generate_state(words, uint32): hashes mix the seed's words until all bits depend on all.
function seedWords(seed, words) {
  const entropy = [];
  for (let rest = BigInt(seed); rest > 0n; rest >>= 32n) entropy.push(Number(rest & LOW_32));
  let factor = 0x43b0d7e5;
  const hashed = (value) => {
    value ^= factor;
    factor = Math.imul(factor, 0x931e8875);
    value = Math.imul(value, factor);
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mixed = (x, y) => {
    const value = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
    return (value ^ (value >>> 16)) >>> 0;
  };
  const pool = [0, 1, 2, 3].map((i) => hashed(entropy[i] ?? 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  }
  for (const word of entropy.slice(4)) for (let to = 0; to < 4; to++) pool[to] = mixed(pool[to], hashed(word));
  let multiplier = 0x8b51f9dd;
  return Array.from({ length: words }, (_, i) => {
    let value = pool[i % 4] ^ multiplier;
    multiplier = Math.imul(multiplier, 0x58f38ded);
    value = Math.imul(value, multiplier);
    return (value ^ (value >>> 16)) >>> 0;
  });
}

class Generator {
  constructor(seed) {
    const words = seedWords(seed, 8).map(BigInt);
    const [high, low, highOrder, lowOrder] = [0, 2, 4, 6].map((i) => (words[i + 1] << 32n) | words[i]);
    this.increment = (((highOrder << 64n | lowOrder) << 1n) | 1n) & LOW_128;
    this.state = this.increment;
    this.state = this.advanced(this.state + (high << 64n | low));
    this.half = null; // the upper 32 bits of a number of which only the lower were asked for
  }

  // as text, and back
  words() { return { state: String(this.state), increment: String(this.increment), half: this.half }; }
  static of({ state, increment, half }) {
    return Object.assign(new Generator(0), { state: BigInt(state) & LOW_128, increment: BigInt(increment) & LOW_128 | 1n, half });
  }

  advanced(state) { return (state * 0x2360ed051fc65da44385df649fccf645n + this.increment) & LOW_128; }

  next64() {
    this.state = this.advanced(this.state);
    const bits = (this.state >> 64n) ^ (this.state & LOW_64), turn = this.state >> 122n;
    return ((bits >> turn) | (bits << (64n - turn))) & LOW_64;
  }

  next32() {
    if (this.half !== null) {
      const half = this.half;
      this.half = null;
      return half;
    }
    const bits = this.next64();
    this.half = Number(bits >> 32n);
    return Number(bits & LOW_32);
  }

  random() { return Number(this.next64() >> 11n) / 2 ** 53; } // in [0, 1)
  random32() { return (this.next32() >>> 8) / 2 ** 24; } // random(dtype=float32)
  uniform(low, high) { return low + (high - low) * this.random(); }

  // 0 ... largest, each equally often, as `shuffle` draws them: numbers that are too large are drawn again
  upTo(largest) {
    const mask = 2 ** Math.ceil(Math.log2(largest + 1)) - 1;
    let value;
    do value = this.next32() & mask; while (value > largest);
    return value;
  }

  permutation(size) {
    const order = Array.from({ length: size }, (_, i) => i);
    for (let i = size - 1; i > 0; i--) {
      const j = this.upTo(i);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  // of mean 0 and variance 1, by G. Box and M. Muller, 1958: not NumPy's, whose tables would be longer than this file
  gaussian() { return Math.sqrt(-2 * Math.log(1 - this.random())) * Math.cos(2 * Math.PI * this.random()); }
}

// What nn.init draws; the normal ones are left out, as Generator.gaussian is not NumPy's.
const INITIALIZERS = {
  zeros: () => null,
  glorot_uniform: (rows, columns) => Math.sqrt(6 / (rows + columns)),
  he_uniform: (rows) => Math.sqrt(6 / rows),
};

function drawWeights(generator, array, init, rows, columns) {
  const limit = INITIALIZERS[init](rows, columns);
  for (let i = 0; i < array.length; i++) array[i] = limit === null ? 0 : generator.uniform(-limit, limit);
}

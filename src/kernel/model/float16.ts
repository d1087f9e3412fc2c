/**
 * IEEE 754 half precision to and from JavaScript numbers, since Node 22 has no Float16Array.
 * One sign bit, five of exponent (bias 15), ten of mantissa.
 */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const mantissa = bits & 0x3ff
  if (exponent === 0) return sign * mantissa * 2 ** -24
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
}

/** Rounds to nearest, ties to even; beyond ±65519 becomes infinite, as in hardware. */
export function numberToHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size >= 65_520) return sign | 0x7c00
  const exponent = Math.max(-14, Math.floor(Math.log2(size)))
  // Math.log2 may be off by one at a power of two: the carry below puts that right.
  const units = roundTiesToEven(size / 2 ** (exponent - 10))
  const normal = units >= 1024 ? units - 1024 + ((exponent + 15) << 10) : units
  return sign | normal
}

function roundTiesToEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest > 0.5 || (rest === 0.5 && floor % 2 === 1)) return floor + 1
  return floor
}

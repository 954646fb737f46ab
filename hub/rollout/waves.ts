/**
 * In which wave a device is. By a hash of its name, so that every replica finds the same, whoever else comes or goes;
 * how much of the hashes' range a wave takes is settled at the start, so that it has as many devices as it should.
 */
import { hash } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import { formatLabels, type DeviceOf } from './scope.ts'

/** Share of the devices that have the revision once the wave has begun, in percent; the last is 100. */
export type Waves = readonly number[]
export type Plan = {
  readonly salt: string
  /** By wave: a device with a place up to this is in it, or in one before. */
  readonly upTo: readonly number[]
}

export const MAX_WAVES = 20
/** Of so many ways to draw, the one is taken whose first wave has the most different labels. */
const DRAWS = 16
/** All draws together: a start is one transaction, and everybody waits for it. A wave of a large fleet is varied anyway. */
const MAX_DRAWN_DEVICES = 20_000

/** `1%,10%,50%,100%`. Throws MESH_CONFIG_INVALID, naming the part that is wrong. */
export function parseWaves(text: string): Waves {
  const wrong = (part: string, problem: string): MeshError =>
    new MeshError(
      'MESH_CONFIG_INVALID',
      `waves ${JSON.stringify(text.slice(0, 200))}, ${JSON.stringify(part.slice(0, 40))}: ${problem}; for example 1%,10%,50%,100%`,
    )
  const parts = text.split(',').map((part) => part.trim())
  if (parts.length > MAX_WAVES) throw wrong(parts[MAX_WAVES]!, `a rollout has ${MAX_WAVES} waves at most`)
  const waves = parts.map((part) => {
    const value = Number(/^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(part)?.[1] ?? Number.NaN)
    if (!(value > 0 && value <= 100)) throw wrong(part, 'expected a share above 0% and up to 100%')
    return value
  })
  for (const [i, value] of waves.entries())
    if (i > 0 && value <= waves[i - 1]!) throw wrong(parts[i]!, 'each wave is larger than the one before')
  if (waves.at(-1) !== 100) throw wrong(parts.at(-1)!, 'the last wave is 100%')
  return waves
}

export const formatWaves = (waves: Waves): string => waves.map((value) => `${value}%`).join(',')

/** @param id of the rollout: another one begins with other devices */
export function planWaves(id: string, waves: Waves, devices: readonly DeviceOf[]): Plan {
  const draws = Array.from({ length: countDraws(devices.length) }, (_, i) => `${id}/${i}`)
  const size = sizeOf(waves[0]!, devices.length)
  const counted = draws.map((salt) => {
    const places = devices.map((device) => ({ at: placeOf(salt, device.name), device })).sort((a, b) => a.at - b.at)
    const labels = new Set(places.slice(0, size).map(({ device }) => formatLabels(device.labels)))
    return { salt, places, variety: labels.size }
  })
  const { salt, places } = counted.reduce((best, next) => (next.variety > best.variety ? next : best))
  const upTo = waves.map((share) => {
    if (share === 100) return 1
    return places[sizeOf(share, places.length) - 1]?.at ?? share / 100
  })
  return { salt, upTo }
}

export const countDraws = (devices: number): number =>
  Math.max(1, Math.min(DRAWS, Math.floor(MAX_DRAWN_DEVICES / Math.max(1, devices))))

const sizeOf = (share: number, devices: number): number => Math.ceil((share * devices) / 100)

export function findWave({ salt, upTo }: Plan, name: string): number {
  const at = placeOf(salt, name)
  return upTo.findIndex((most) => at <= most)
}

/** Below 1. */
function placeOf(salt: string, name: string): number {
  return hash('sha256', `${salt}/${name}`, 'buffer').readUIntBE(0, 6) / 2 ** 48
}

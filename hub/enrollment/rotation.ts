/**
 * The hub's roots rotate in two steps: first everybody trusts the new one, then it signs. Devices hear of each step with
 * their next certificate, so a step waits until all have had one; the root of before is dropped when nothing that it
 * signed counts any more.
 */
import { MeshError } from '../../core/errors.ts'
import { asOwner } from '../../core/os/as-owner.ts'
import {
  addRoot,
  listRoots,
  removeOther,
  readRoots,
  signWithNext,
  type OtherRoot,
  type RootFiles,
} from '../ca/root-files.ts'
import { listKeyHashes } from '../ca/key-hash.ts'
import { BACKDATED_MS, type Root } from '../ca/root.ts'
import type { Registry } from '../registry/registry.ts'

export type RotationStep = 'add' | 'switch' | 'drop'
export type RootState = 'signs' | OtherRoot['state']
export type RootStatus = {
  readonly fingerprint: string
  readonly state: RootState
  readonly notAfterMs: number
  /** Devices that keep the next step waiting. */
  readonly waitsFor: readonly string[]
}
export type RotationOptions = RootFiles & {
  /** Whose owner the files belong to. */
  readonly state: string
  readonly trustDomain: string
  readonly registry: Registry
  readonly nowMs: number
}

const MAX_NAMED = 10

export async function describeRoots(o: RotationOptions): Promise<readonly RootStatus[]> {
  const stored = asOwner(o.state, () => readRoots(o))
  if (!stored) return []
  const describe = ({ certificate, notAfterMs }: Root, state: RootState, waitsFor: readonly string[] = []) => ({
    fingerprint: certificate.fingerprint256,
    state,
    notAfterMs,
    waitsFor,
  })
  const { signing, other } = stored
  if (!other) return [describe(signing, 'signs')]
  const waitsFor = await o.registry.devicesCertifiedBefore(other.sinceMs, o.nowMs)
  return [describe(signing, 'signs'), describe(other.root, other.state, waitsFor)]
}

/**
 * @param anyway devices that are not ready are left behind: they join again
 * @returns what was done, in words. Throws MESH_CONFIG_INVALID when the step is not the next one, or devices are not ready.
 */
export async function rotateRoots(step: RotationStep, o: RotationOptions, anyway = false): Promise<string> {
  if (!anyway) await checkNewest(o)
  if (step === 'add') {
    const { certificate } = asOwner(o.state, () => addRoot({ ...o, notBeforeMs: o.nowMs - BACKDATED_MS }))
    await tellOthers(o)
    return `${certificate.fingerprint256} is trusted`
  }
  const [signing, other] = await describeRoots(o)
  if (!signing || !other || other.state !== (step === 'switch' ? 'added' : 'switched'))
    throw new MeshError('MESH_CONFIG_INVALID', `it is not the time to ${step}: \`roots status\` tells how far it is`)
  if (other.waitsFor.length > 0 && !anyway) throw notReady(step, other.waitsFor)
  asOwner(o.state, () => (step === 'switch' ? signWithNext(o) : removeOther(o)))
  await tellOthers(o)
  return step === 'switch' ? `${other.fingerprint} signs` : `${other.fingerprint} is trusted no more`
}

/** A step that was made at another hub is not known here: one on top of it would make a second set of roots. */
async function checkNewest(o: RotationOptions): Promise<void> {
  const own = listKeyHashes(readStored(o))
  const known = await o.registry.authority('ca')
  if (!known.every((one) => own.includes(one)))
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `roots were rotated at another hub: make the step there, or copy the folder ca of its state to ${o.folder} first`,
    )
}

/** Other hubs on the registry, and those that start, compare it with what they have. */
async function tellOthers(o: RotationOptions): Promise<void> {
  await o.registry.writeAuthority('ca', listKeyHashes(readStored(o)))
}

function readStored(o: RotationOptions): readonly Root[] {
  const stored = asOwner(o.state, () => readRoots(o))
  return stored ? listRoots(stored) : []
}

function notReady(step: RotationStep, names: readonly string[]): MeshError {
  const named = names.slice(0, MAX_NAMED).join(', ')
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : ''
  return new MeshError(
    'MESH_CONFIG_INVALID',
    `${names.length} devices have had no certificate since the last step: ${named}${more}. Wait, revoke those that are gone, or ${step} --anyway: they would have to join again`,
  )
}

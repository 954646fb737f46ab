/**
 * The device's long-lived key: P-256, in a file of mode 0600, or wherever a program keeps it that signs for us (a TPM
 * or another token behind PKCS#11). Nothing but signatures is ever wanted of it.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import path from 'node:path'
import { MeshError } from '../../../core/errors.ts'
import { hashThumbprint, signEs256, toEs256Jwk, type Es256Jwk, type Es256Signer } from '../../../core/jwt/sign.ts'
import type { RunCommand } from '../../../core/os/command.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { readDerChildren, readDerValue } from '../../../core/pki/der.ts'
import { isSealed, openSealed, type Sealer } from '../../../core/pki/sealing.ts'
import { createKey } from '../../identity/csr.ts'

export type DeviceKey = { readonly jwk: Es256Jwk; readonly keyId: string; readonly sign: Es256Signer }
export type DeviceKeyOptions = {
  readonly disk: Disk
  readonly stateFolder: string
  /** `PROGRAM … public` writes the public key as PEM, `PROGRAM … sign FILE` the signature of the file, DER in base64. */
  readonly command: readonly string[] | undefined
  readonly run: RunCommand
  /** The file is encrypted with it. */
  readonly sealer: Sealer | undefined
}

const PURPOSE = 'device key'
const KEY_FILE = 'device-key.pem'
const TO_BE_SIGNED = 'to-be-signed'
/** A TPM takes half a second. */
const COMMAND_MS = 20_000

/** Undefined: there is none, and `make` does not say that one is made. Rejects with MESH_STATE_UNUSABLE. */
export async function openDeviceKey(o: DeviceKeyOptions, make: 'make' | 'find'): Promise<DeviceKey | undefined> {
  return o.command === undefined ? openFile(o, make) : openCommand(o.command, o)
}

async function openFile(
  { disk, stateFolder, sealer }: DeviceKeyOptions,
  make: 'make' | 'find',
): Promise<DeviceKey | undefined> {
  const folder = path.join(stateFolder, 'identity')
  const file = path.join(folder, KEY_FILE)
  try {
    const stored = disk.read(file)
    if (stored)
      return describe(
        createPrivateKey(isSealed(stored) ? openSealed(stored, { sealer, purpose: PURPOSE, file }) : stored),
        file,
      )
    if (make === 'find') return undefined
    const pem = await createKey('ecdsa-p256')
    disk.makeFolder(folder, 0o700)
    disk.replace(file, sealer ? sealer.seal(Buffer.from(pem), PURPOSE) : pem, 0o600)
    return describe(createPrivateKey(pem), file)
  } catch (cause) {
    if (cause instanceof MeshError) throw cause
    // Never made anew beside one that cannot be read: the device would lose its name.
    throw new MeshError('MESH_STATE_UNUSABLE', `the device's key ${file} can neither be read nor made`, { cause })
  }
}

function describe(key: KeyObject, where: string): DeviceKey {
  const sign: Es256Signer = (signed) => signEs256(signed, key)
  return withSigner(key, where, sign)
}

function withSigner(key: KeyObject, where: string, sign: Es256Signer): DeviceKey {
  const jwk = toEs256Jwk(key)
  if (!jwk) throw new MeshError('MESH_STATE_UNUSABLE', `the device's key of ${where} is no P-256 key`)
  return { jwk, keyId: hashThumbprint(jwk), sign }
}

async function openCommand(command: readonly string[], o: DeviceKeyOptions): Promise<DeviceKey> {
  const where = `identity.deviceKey.command ${command[0]}`
  const text = await runFor(command, ['public'], o.run)
  let key: KeyObject
  try {
    key = createPublicKey(text)
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `${where} public writes no public key as PEM`, { cause })
  }
  const file = path.join(o.stateFolder, 'identity', TO_BE_SIGNED)
  return withSigner(key, where, async (signed) => {
    o.disk.makeFolder(path.dirname(file), 0o700)
    o.disk.replace(file, signed, 0o600)
    return toRaw(Buffer.from(await runFor(command, ['sign', file], o.run), 'base64'), where)
  })
}

async function runFor(command: readonly string[], args: readonly string[], run: RunCommand): Promise<string> {
  const what = `identity.deviceKey.command ${command[0]} ${args[0]}`
  let result: Awaited<ReturnType<RunCommand>>
  try {
    result = await run([...command, ...args], AbortSignal.timeout(COMMAND_MS))
  } catch (cause) {
    throw new MeshError('MESH_STATE_UNUSABLE', `${what} cannot be run, or did not end within ${COMMAND_MS} ms`, {
      cause,
    })
  }
  if (result.code !== 0)
    throw new MeshError('MESH_STATE_UNUSABLE', `${what} ended with ${result.code}: ${result.output.slice(0, 200)}`)
  return result.output
}

/** Ecdsa-Sig-Value (RFC 3279 §2.2.3) → r and s, 32 bytes each (RFC 7518 §3.4). */
function toRaw(der: Buffer, where: string): Buffer {
  try {
    const numbers = readDerChildren(readDerValue(der)).map(({ content }) => content)
    const fixed = numbers.map((n) => {
      const short = n[0] === 0 ? n.subarray(1) : n
      return Buffer.concat([Buffer.alloc(32 - short.length), short])
    })
    if (fixed.length === 2) return Buffer.concat(fixed)
  } catch {
    /* told below */
  }
  throw new MeshError('MESH_STATE_UNUSABLE', `${where} sign writes no ECDSA signature in base64`)
}

import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import fs from 'node:fs'
import { openDeviceKey, type DeviceKeyOptions } from '../../../../control-sync/fleet/device/device-key.ts'
import { isSignedBy } from '../../../../core/jwt/algorithms.ts'
import { MeshError } from '../../../../core/errors.ts'
import { runSystemCommand } from '../../../../core/os/command.ts'
import { systemDisk } from '../../../../core/os/disk.ts'
import { createSealer } from '../../../../core/pki/sealing.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

function made(t: { after(fn: () => void): void }, o: Partial<DeviceKeyOptions> = {}) {
  const stateFolder = temporaryFolder(t)
  const options = { disk: systemDisk, stateFolder, command: undefined, run: runSystemCommand, sealer: undefined, ...o }
  return { options, file: `${stateFolder}/identity/device-key.pem`, stateFolder }
}
const unusable = (why: RegExp) => (err: unknown) =>
  err instanceof MeshError && err.code === 'MESH_STATE_UNUSABLE' && why.test(err.message)

async function signs(options: DeviceKeyOptions): Promise<string> {
  const key = (await openDeviceKey(options, 'find'))!
  const signed = Buffer.from('what is signed')
  const publicKey = createPublicKey({ key: { ...key.jwk }, format: 'jwk' })
  for (let i = 0; i < 20; i++) assert.ok(isSignedBy('ES256', publicKey, signed, await key.sign(signed)))
  return key.keyId
}

test('a key is made once, for its owner only, and never beside one that cannot be read', async (t) => {
  const { options, file } = made(t)
  assert.equal(await openDeviceKey(options, 'find'), undefined)
  const first = await openDeviceKey(options, 'make')
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  assert.equal((await openDeviceKey(options, 'make'))?.keyId, first?.keyId)
  assert.equal(await signs(options), first?.keyId)
  fs.writeFileSync(file, 'damaged')
  await assert.rejects(openDeviceKey(options, 'make'), unusable(/neither be read nor made/))
  assert.equal(fs.readFileSync(file, 'utf8'), 'damaged')
})

test('with identity.encryptionKey it is sealed on disk', async (t) => {
  const { options, file } = made(t, { sealer: createSealer(Buffer.alloc(32, 7), 'key') })
  const { keyId } = (await openDeviceKey(options, 'make'))!
  assert.equal(fs.readFileSync(file).includes('PRIVATE KEY'), false)
  assert.equal(await signs(options), keyId)
  await assert.rejects(
    openDeviceKey({ ...options, sealer: undefined }, 'find'),
    (err) => err instanceof MeshError && err.code === 'MESH_STATE_LOCKED',
  )
})

/** As docs/fleet.md shows it, with a file in the place of the TPM. */
const SIGNER = `#!/bin/sh
case "$1" in
  public) openssl pkey -in "$KEY" -pubout ;;
  sign) openssl dgst -sha256 -sign "$KEY" "$2" | openssl base64 -A ;;
esac
`
test('a program that has the key signs for us, e.g. with a TPM', async (t) => {
  const { stateFolder, options, file } = made(t)
  const [script, key] = [`${stateFolder}/signer`, `${stateFolder}/tpm.pem`]
  await runSystemCommand(
    ['openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key],
    AbortSignal.timeout(20_000),
  )
  fs.writeFileSync(script, SIGNER.replaceAll('$KEY', key), { mode: 0o755 })
  assert.match(await signs({ ...options, command: [script] }), /^[\w-]{43}$/)
  assert.equal(fs.existsSync(file), false)
})

for (const [what, text, why] of [
  ['fails', 'exit 3', /public ended with 3/],
  ['writes no key', 'echo hello', /writes no public key as PEM/],
  [
    'has a key of another kind',
    'openssl genpkey -algorithm ed25519 2>/dev/null | openssl pkey -pubout',
    /is no P-256 key/,
  ],
] as const)
  test(`a program that ${what} is no key`, async (t) => {
    const { stateFolder, options } = made(t)
    fs.writeFileSync(`${stateFolder}/signer`, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
    await assert.rejects(openDeviceKey({ ...options, command: [`${stateFolder}/signer`] }, 'make'), unusable(why))
  })

test('a program that is not there, and one whose signature is none', async (t) => {
  const { stateFolder, options } = made(t)
  await assert.rejects(openDeviceKey({ ...options, command: ['/nowhere/signer'] }, 'make'), unusable(/cannot be run/))
  const key = `${stateFolder}/k.pem`
  await runSystemCommand(
    ['openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key],
    AbortSignal.timeout(20_000),
  )
  fs.writeFileSync(`${stateFolder}/signer`, SIGNER.replaceAll('$KEY', key).replace('| openssl base64 -A', '| wc -c'), {
    mode: 0o755,
  })
  const broken = (await openDeviceKey({ ...options, command: [`${stateFolder}/signer`] }, 'find'))!
  await assert.rejects(async () => broken.sign(Buffer.from('x')), unusable(/writes no ECDSA signature/))
})

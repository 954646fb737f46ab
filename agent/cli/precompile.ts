/**
 * `meshlet precompile`: puts what each start would compile and unpack beside the bundle. It is part of an installation:
 * root may write there and the agent may not, so that an attacker who can write the agent's state leaves no code for
 * its next start.
 */
import os from 'node:os'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { BESIDE, bundle, type Bundle } from '../../core/runtime/bundle.ts'
import type { Disk } from '../../core/os/disk.ts'
import { MeshError } from '../../core/errors.ts'
import { decodeAddon } from '../../core/storage/sqlite-addon.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'
import { rehearse } from './rehearsal.ts'

/** Rejects with MESH_PRECOMPILE_FAILED. */
export async function precompile(disk: Disk, io: Io): Promise<ExitCode> {
  if (!bundle) throw new MeshError('MESH_PRECOMPILE_FAILED', 'there is no bundle: this meshlet runs from its sources')
  await rehearse()
  const parts = {
    [BESIDE.compiled]: compiledOf(bundle),
    [BESIDE.addon]: decodeAddon({ encoded: bundle.encodedAddon, sha256: bundle.addonSha256 }),
  }
  for (const [suffix, content] of Object.entries(parts)) {
    const file = bundle.file + suffix
    try {
      disk.replace(file, content, 0o644)
    } catch (cause) {
      throw new MeshError('MESH_PRECOMPILE_FAILED', `${file} cannot be written: ${(cause as Error).message}`, { cause })
    }
    io.out(`${file} ${content.length} bytes\n`)
  }
  if (os.userInfo().uid !== 0)
    io.err(`meshlet: an agent that runs as the user who owns ${path.dirname(bundle.file)} uses neither\n`)
  return 0
}

/** What V8 has compiled so far, behind a head by which the bundle's front knows that it is complete and of this program. */
function compiledOf({ script, programSha256 }: Bundle): Buffer {
  const code = script.createCachedData()
  const sum = Buffer.alloc(4)
  sum.writeUInt32LE(crc32(code))
  return Buffer.concat([Buffer.from(programSha256, 'hex'), sum, code])
}

/** The shipped bundle as it is installed on a device: beside it what `meshlet precompile` puts there. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

/** @returns the copy; `plain` leaves `meshlet precompile` out */
export function installBundle(bundle: string, folder: string, how: 'precompiled' | 'plain' = 'precompiled'): string {
  const copy = path.join(folder, `${how}-${path.basename(path.dirname(bundle))}-${path.basename(bundle)}`)
  fs.copyFileSync(bundle, copy)
  if (how === 'precompiled') execFileSync(process.execPath, [copy, 'precompile'])
  return copy
}

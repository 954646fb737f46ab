import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** An empty folder of a test's own, removed with all content when the test ends. */
export function temporaryFolder(t: { after(fn: () => void): void }): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-test-'))
  t.after(() => {
    fs.rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

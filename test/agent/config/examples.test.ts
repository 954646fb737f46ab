import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { meshlet } from '../../scenarios/cli.ts'

const EXAMPLES = path.resolve(import.meta.dirname, '../../../deploy/edge/examples')

for (const name of fs.readdirSync(EXAMPLES))
  test(`deploy/edge/examples/${name} has no mistake`, async (t) => {
    const folder = temporaryFolder(t)
    // Where systemd gives no credentials, they are beside the file.
    fs.writeFileSync(path.join(folder, 'roots.pem'), testCa().rootsPem)
    fs.writeFileSync(path.join(folder, 'token'), 'a.b.c', { mode: 0o600 })
    fs.copyFileSync(path.join(EXAMPLES, name), path.join(folder, 'agent.yaml'))
    const { code, out } = await meshlet(['config', 'check', '-c', path.join(folder, 'agent.yaml')])
    assert.equal(code, 0, out)
  })

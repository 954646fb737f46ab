/** To whom `meshlet-hub connect` speaks. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { findHubBeside } from '../../../hub/relay/connect-client.ts'
import { testHub } from '../start-hub.ts'

test('a command does not speak to what is no socket of the hub, and a hub takes no place of another', async (t) => {
  const h = await testHub(t)
  const state = `${h.folder}/state`
  await assert.rejects(findHubBeside(state), { code: 'MESH_CONNECT_NO_HUB', message: /without relay/ })
  const file = path.join(state, 'connect.sock')
  fs.writeFileSync(file, '')
  await assert.rejects(findHubBeside(state), { code: 'MESH_CONNECT_NO_HUB', message: /is no socket/ })
  fs.rmSync(file)
  fs.symlinkSync('/run/other.sock', file)
  await assert.rejects(findHubBeside(state), { code: 'MESH_STATE_UNUSABLE', message: /symbolic link/ })
  fs.rmSync(file)
  await assert.rejects(findHubBeside(`/tmp/${'x'.repeat(100)}`), { code: 'MESH_CONNECT_NO_HUB', message: /shorter/ })
})

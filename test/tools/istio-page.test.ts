import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { writeIstioPage } from '../../tools/istio-page.ts'

test('docs/hub-istio.md is what the schemas say (npm run docs writes it)', () => {
  assert.equal(fs.readFileSync('docs/hub-istio.md', 'utf8'), writeIstioPage())
})
test('fields that are refused stand there with the reason', () => {
  assert.match(writeIstioPage(), /\| DestinationRule .*`trafficPolicy\.tls\.credentialName`: a Secret of Kubernetes/)
})

/**
 * `npm run docs`: writes docs/errors.md, docs/metrics.md, docs/status.md, docs/envoy-fields.md, docs/hub-istio.md, docs/mqtt-conformance.md
 * and test/golden/public-names.txt from the sources; test/rules fails when they differ, or the test of the statements.
 */
import fs from 'node:fs'
import { fieldsPage } from '../test/fields/page.ts'
import { writeConformancePage } from '../test/protocols/mqtt/statements/page.ts'
import { publicNames } from '../test/rules/checks/public-names.ts'
import { writeIstioPage } from './istio-page.ts'
import { writeErrorsPage, writeMetricsPage, writeStatusPage } from './reference-pages.ts'

fs.mkdirSync('docs', { recursive: true })
fs.writeFileSync('docs/errors.md', writeErrorsPage())
fs.writeFileSync('docs/metrics.md', writeMetricsPage())
fs.writeFileSync('docs/status.md', writeStatusPage())
fs.writeFileSync('docs/envoy-fields.md', fieldsPage())
fs.writeFileSync('docs/hub-istio.md', writeIstioPage())
fs.writeFileSync('docs/mqtt-conformance.md', writeConformancePage())
fs.writeFileSync('test/golden/public-names.txt', await publicNames())

/** `npm run docs`: writes docs/errors.md, docs/metrics.md and docs/status.md from the sources; test/rules/catalogue.test.ts fails when they differ. */
import fs from 'node:fs'
import { errorsPage, metricsPage, statusPage } from './reference-pages.ts'

fs.mkdirSync('docs', { recursive: true })
fs.writeFileSync('docs/errors.md', errorsPage())
fs.writeFileSync('docs/metrics.md', metricsPage())
fs.writeFileSync('docs/status.md', statusPage())

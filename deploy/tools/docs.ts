/** `npm run docs`: writes docs/errors.md and docs/metrics.md from the sources; test/rules/catalogue.test.ts fails when they differ. */
import fs from 'node:fs'
import { errorsPage, metricsPage } from './reference-pages.ts'

fs.mkdirSync('docs', { recursive: true })
fs.writeFileSync('docs/errors.md', errorsPage())
fs.writeFileSync('docs/metrics.md', metricsPage())

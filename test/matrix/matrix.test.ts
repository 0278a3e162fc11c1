/** The package with every package manager, runtime, bundler and compiler: `npm run test:matrix`, which writes docs/compatibility.md. Not part of `npm test`. */
import { archives, bundlers } from './bundlers'
import { close, open } from './context'
import { templates } from './create'
import { declarations } from './declarations'
import { managers } from './managers'
import { runtimes } from './runtimes'
import { servers } from './server'

beforeAll(open)
afterAll(close)

describe('Package managers', managers)
describe('Runtimes', runtimes)
describe('The server', servers)
describe('Bundlers and tracers', bundlers)
describe('Electron archives', archives)
describe('Templates', templates)
describe('Declarations and manifests', declarations)

# The compose stack. It needs Docker alone; on Windows `docker compose up -d --wait` does what `make up` does.
# Docker compose reads .env in this folder; what is set in the environment wins, also COMPOSE_FILE and COMPOSE_PROFILES.

SERVICE ?=# what logs shows: all, or some
FILE    ?= candlestack-images.tar# images, for bundle and load
BACKUP  ?=# folder of a backup

export VERSION REVISION

.PHONY: up down reset image logs ps urls doctor secrets bundle load backup restore compose-test

up: doctor ## start the compose stack and wait until it is healthy
	@docker compose up -d --wait --quiet-pull
	@compose/urls.sh

down: ## stop the stack and keep its data
	@docker compose --profile '*' down

reset: ## stop the stack and delete its data
	@docker compose --profile '*' down --volumes --remove-orphans

image: ## build our images anew, after a change of the code
	@docker compose build

logs: ## show the logs and follow them: make logs SERVICE=sink-mysql
	@docker compose logs --tail 100 -f $(SERVICE)

ps: ## show what runs, and its memory
	@docker compose ps --all --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'
	@ids=$$(docker compose ps -q); [ -z "$$ids" ] || docker stats --no-stream --format 'table {{.Name}}\t{{.MemUsage}}\t{{.CPUPerc}}' $$ids

urls: ## show where to look
	@compose/urls.sh

doctor: ## check that the stack can run here
	@compose/doctor.sh

secrets: ## write strong passwords into compose/secrets/own
	@compose/secrets.sh compose/secrets/own
	@echo 'Set SECRETS=own in .env. Databases that have started before keep their passwords: make reset, or change them there.'

bundle: ## write all images into FILE, for a class without a network
	@export COMPOSE_PROFILES="$${COMPOSE_PROFILES-tools,notebooks,parity}"; \
		docker compose build -q && docker compose pull -q --ignore-buildable --policy missing && \
		docker save -o $(FILE) $$(docker compose config --images | sort -u) && ls -lh $(FILE)

load: ## load the images of FILE
	@docker load -qi $(FILE)

backup: ## save the data into BACKUP, a new folder; the stack stops meanwhile
	@compose/backup.sh save '$(BACKUP)'

restore: ## fill an empty stack from BACKUP
	@compose/backup.sh restore '$(BACKUP)'

compose-test: ## test the stack in Docker, with names and ports of its own; COMPOSE_TEST_FILES adds override files
	@CANDLESTACK_COMPOSE_TEST=1 go test -count=1 -v -timeout 40m -run '^TestStack$$' ./compose

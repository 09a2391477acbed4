# Short names for what contributors run every day. `just --list` shows them.

# the inner loop: format, lint, every cargo test
quick:
    tests/run --quick

# what CI runs
ci:
    .ci/run

# one or more steps of CI, such as `just step clients files`
step +names:
    tests/run --only {{names}}

# a broker on 127.0.0.1:9092
run *arguments:
    cargo run --release -- {{arguments}}

# write the generated pages below docs/ anew
docs:
    MILENA_WRITE_DOCS=1 cargo test -p milena-tests --test tidy generated

# one benchmark against the floor and Apache Kafka
bench scenario *options:
    cargo build --release -p milena-broker
    cargo run --release -p milena-tests --features librdkafka,floor --bin bench -- run {{scenario}} --peer floor --peer apache-kafka {{options}}
